"""Seconds to crop, flip, normalise and cut out an epoch of images in memory: ``python -m benchmarks.data [--json]``.

Images of CIFAR's size, random, uint8, through the batches that the stages use, on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch

from benchmarks.machine import facts, one_core, peak_gflops
from darts_core.data import AugmentPolicy, Batches, Images

POLICIES = {
    "crop, flip": AugmentPolicy(4, True, 0),
    "crop, flip, cutout": AugmentPolicy(4, True, 16),
    "crop, flip, rotation, zoom": AugmentPolicy(4, True, 0, rotation=10.0, zoom=0.1),
}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for name, value in (("images", 50_000), ("pixels", 32), ("batch", 64), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args(arguments)
    core = one_core()
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, 3, options.pixels, options.pixels), dtype=np.uint8)
    images = Images.from_arrays(pixels, torch.arange(options.images) % 10)
    seconds: dict[str, list[float]] = {name: [] for name in POLICIES}
    for _ in range(options.rounds):
        for name, policy in POLICIES.items():
            batches = Batches(images, options.batch, shuffle=True, policy=policy, generator=torch.Generator().manual_seed(0))
            start = time.perf_counter()
            for _batch in batches:
                pass
            seconds[name].append(time.perf_counter() - start)
    rows = [{"augmentation": name, "images": options.images, "seconds": statistics.median(own)} for name, own in seconds.items()]
    if options.json:
        sys.stdout.write(json.dumps({"machine": facts(core, [peak_gflops()]), "rows": rows}, indent=1) + "\n")
        return
    for row in rows:
        sys.stdout.write(f"{row['images']} images: {row['augmentation']:28}{row['seconds']:7.3f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
