"""Seconds of a retraining step of a discrete network: ``python -m benchmarks.retrain_step [--json]``.

``published`` is torch's default layout with the library's own backward of depthwise convolutions; ``ours`` is what the stage retrain does
on a CPU. They take turns; the ratio is the median over the rounds of published's seconds by its own in the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.machine import facts, one_core, peak_gflops
from darts_core.config import RetrainConfig
from darts_core.engine.retrain import Trainer
from darts_core.genotype import published
from darts_core.nets.network import Network
from darts_core.ops.depthwise import DepthwiseConv2d
from darts_core.ops.drop_path import DropPath

CPU = torch.device("cpu")
WAYS = {"published": torch.contiguous_format, "ours": torch.channels_last}


def build(way: str, options: argparse.Namespace) -> Trainer:
    """Return the network of a published genotype with its optimiser, in one of the ways."""
    torch.manual_seed(0)
    drop_path = DropPath(torch.Generator().manual_seed(0))
    network = Network(
        published(options.genotype),
        in_channels=3,
        num_classes=10,
        init_channels=options.channels,
        layers=options.cells,
        auxiliary=True,
        drop_path=drop_path,
    )
    for module in network.modules():
        if isinstance(module, DepthwiseConv2d):
            module.uses_own_backward = way == "ours"
    network.to(memory_format=WAYS[way])
    return Trainer(network.train(), RetrainConfig(), device=CPU, drop_path=drop_path)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrain_step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--genotype", default="DARTS_V2")
    for name, value in (("channels", 36), ("cells", 20), ("pixels", 32), ("batch", 16), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args(arguments)
    core = one_core()
    trainers = {way: build(way, options) for way in WAYS}
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(options.batch, 3, options.pixels, options.pixels, generator=generator)
    labels = torch.randint(10, (options.batch,), generator=generator)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    gflops = []
    for taken in range(options.rounds + 1):  # the first warms up
        gflops.append(peak_gflops())
        for way, trainer in trainers.items():
            x = images.contiguous(memory_format=WAYS[way])
            start = time.perf_counter()
            trainer.step(x, labels)
            if taken:
                seconds[way].append(time.perf_counter() - start)
    rows: list[dict[str, Any]] = [
        {
            "genotype": options.genotype,
            "batch": options.batch,
            "channels": options.channels,
            "cells": options.cells,
            "way": way,
            "seconds": statistics.median(own),
            "ratio": statistics.median(theirs / mine for theirs, mine in zip(seconds["published"], own)),
        }
        for way, own in seconds.items()
    ]
    if options.json:
        sys.stdout.write(json.dumps({"machine": facts(core, gflops), "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{facts(core, gflops)}\n")
    for row in rows:
        sys.stdout.write(f"{row['genotype']} N={row['batch']} {row['way']:10}{row['seconds']:8.3f} s {row['ratio']:6.2f}x\n")


if __name__ == "__main__":
    main(sys.argv[1:])
