"""Seconds to augment an epoch of images in memory, and the share of a step that data take: ``python -m benchmarks.data [--json]``.

Images of CIFAR's size, random, uint8, through the batches that the stages use, on one core. The steps are those of a first-order search of
the paper's supernet, by the fastest backend that can be had here, and of the retraining of DARTS_V2 (36 channels, 20 cells).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch

from benchmarks import retrain_step
from benchmarks.machine import facts, one_core, peak_gflops, whole_number
from benchmarks.supernets import CPU, Size, backends
from benchmarks.supernets import build as build_search
from darts_core.data import AugmentPolicy, Batches, Cycle, Images
from darts_core.engine.loop import Batch, EpochCost, to_device

POLICIES = {
    "crop, flip": AugmentPolicy(4, True, 0),
    "crop, flip, cutout": AugmentPolicy(4, True, 16),
    "crop, flip, rotation, zoom": AugmentPolicy(4, True, 0, rotation=10.0, zoom=0.1),
}
STEPS = {"search": "crop, flip", "retrain": "crop, flip, cutout"}  # what quark0/darts does to its images in either


def augment(images: Images, *, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row an augmentation: seconds of an epoch."""
    seconds: dict[str, list[float]] = {name: [] for name in POLICIES}
    for _ in range(rounds):
        for name in POLICIES:
            start = time.perf_counter()
            for _batch in _batches(images, batch, name):
                pass
            seconds[name].append(time.perf_counter() - start)
    return [{"augmentation": name, "images": len(images), "seconds": statistics.median(own)} for name, own in seconds.items()]


def shares(images: Images, *, batch: int, steps: int) -> list[dict[str, Any]]:
    """Return a row a kind of step: its seconds, data and all, and the percentage of them that went by waiting for data."""
    rows = []
    for name, policy in STEPS.items():
        step = {"search": _search_step, "retrain": _retrain_step}[name]()
        stream = Cycle(_batches(images, batch, policy))
        with EpochCost(CPU) as cost:
            batches = cost.waiting(to_device(stream, CPU, torch.channels_last))
            for taken in range(2):  # the first warms up
                for train in islice(batches, steps if taken else 1):
                    step(train, batches.__next__)
                lap = cost.lap()
        rows.append({"step": name, "batch": batch, "seconds": lap["epoch_s"] / steps, "data_percent": lap["data_percent"]})
    return rows


def _batches(images: Images, batch: int, policy: str) -> Batches:
    return Batches(images, batch, shuffle=True, policy=POLICIES[policy], generator=torch.Generator().manual_seed(0))


Step = Callable[[Batch, Callable[[], Batch]], object]


def _search_step() -> Step:
    bilevel = build_search(Size(), order="first", backend=backends()[-1], memory="normal")

    def step(train: Batch, another: Callable[[], Batch]) -> None:
        bilevel.arch_step(train=train, valid=another(), lr=0.025)
        bilevel.weight_step(train, lr=0.025)

    return step


def _retrain_step() -> Step:
    trainer = retrain_step.build("ours")
    return lambda train, _: trainer.step(*train)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for name, value in (("images", 50_000), ("pixels", 32), ("batch", 64), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=whole_number, default=value)
    parser.add_argument("--steps", type=int, default=3, help="steps of search and of retraining whose share of data is measured; 0: none")
    parser.add_argument("--step-batch", type=whole_number, default=16, help="images of a batch of these steps")
    options = parser.parse_args(arguments)
    core = one_core()
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, 3, options.pixels, options.pixels), dtype=np.uint8)
    images = Images.from_arrays(pixels, torch.arange(options.images) % 10)
    rows = augment(images, batch=options.batch, rounds=options.rounds)
    rows += shares(images, batch=options.step_batch, steps=options.steps) if options.steps else []
    machine = facts(core, [peak_gflops()])
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{machine}\n")
    for row in rows:
        if "augmentation" in row:
            sys.stdout.write(f"{row['images']} images: {row['augmentation']:28}{row['seconds']:7.3f} s\n")
        else:
            sys.stdout.write(f"{row['step']:8} step, N={row['batch']}: {row['seconds']:7.3f} s, {row['data_percent']:.3f} % of it data\n")


if __name__ == "__main__":
    main(sys.argv[1:])
