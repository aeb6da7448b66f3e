"""Seconds of a retraining step of a discrete network: ``python -m benchmarks.retrain_step [--json]``.

``published`` is torch's default layout and its own backward of depthwise convolutions; ``eager``, ``native`` and ``compiled`` are what the
stage retrain does on a CPU by ``retrain.backend``, ``bfloat16`` is eager with ``retrain.amp: bfloat16``. They take turns; the ratio is the
median over the rounds of published's seconds by its own in the same round. ``startup_s`` are the seconds that it takes to
compile, or to load and check the kernels. Unless ``--ways`` asks, bfloat16 is left out where the CPU has no instructions for it, and
compiled, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

import torch

from benchmarks.machine import CLOCKS, computes_bfloat16, facts, one_core, peak_gflops, whole_number
from darts_core.config import RetrainConfig
from darts_core.engine.retrain import Trainer
from darts_core.genotype import published
from darts_core.nets.backend import compiled_alone, use_backend
from darts_core.nets.network import Network
from darts_core.ops.depthwise import DepthwiseConv2d
from darts_core.ops.drop_path import DropPath
from darts_core.ops.native import library as kernels

CPU = torch.device("cpu")
WAYS = ("published", "eager", "native", "compiled", "bfloat16")
NO_BFLOAT16 = (
    "bfloat16 is not measured: this CPU has no instructions for it, so that torch takes several times longer than with float32. "
    "To see by how much: --ways eager bfloat16\n"
)


def layout(way: str) -> torch.memory_format:
    """Return the layout of images and weights."""
    return torch.contiguous_format if way == "published" else torch.channels_last


def build(way: str, *, genotype: str = "DARTS_V2", channels: int = 36, cells: int = 20) -> Trainer:
    """Return the network of a published genotype with its optimiser, in one of the ways."""
    torch.manual_seed(0)
    drop_path = DropPath(torch.Generator().manual_seed(0))
    network = Network(
        published(genotype),
        in_channels=3,
        num_classes=10,
        init_channels=channels,
        layers=cells,
        auxiliary=True,
        drop_path=drop_path,
    )
    for module in network.modules():
        if isinstance(module, DepthwiseConv2d):
            module.uses_own_backward = way != "published"
    network.to(memory_format=layout(way))
    cfg = RetrainConfig(amp="bfloat16" if way == "bfloat16" else "off")
    return Trainer(network.train(), cfg, device=CPU, drop_path=drop_path)


def measure(options: argparse.Namespace, ways: list[str], gflops: list[float]) -> list[dict[str, Any]]:
    """Return a row a way."""
    now = CLOCKS[options.clock]
    trainers = {way: build(way, genotype=options.genotype, channels=options.channels, cells=options.cells) for way in ways}
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(options.batch, 3, options.pixels, options.pixels, generator=generator)
    labels = torch.randint(10, (options.batch,), generator=generator)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    used, startup = {}, {}
    for way, trainer in trainers.items():
        start = now()
        wanted = way if way in ("native", "compiled") else "eager"
        used[way] = use_backend(trainer.network, wanted, images, device=CPU, memory_format=layout(way))
        startup[way] = now() - start
        if used[way].name != wanted:
            raise SystemExit(f"{way}: {used[way].why}.")
    for taken in range(options.rounds + 1):  # the first warms up
        gflops.append(peak_gflops(options.clock))
        for way, trainer in trainers.items():
            x = images.contiguous(memory_format=layout(way))
            with compiled_alone(used[way]):
                start = now()
                trainer.step(x, labels)
                own = now() - start
            if taken:
                seconds[way].append(own)
    return [
        {
            "genotype": options.genotype,
            "batch": options.batch,
            "channels": options.channels,
            "cells": options.cells,
            "way": way,
            "seconds": statistics.median(own),
            "startup_s": startup[way],
            "ratio": statistics.median(theirs / mine for theirs, mine in zip(seconds["published"], own)),
        }
        for way, own in seconds.items()
    ]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrain_step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--genotype", default="DARTS_V2")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="published always takes part, for the ratio")
    for name, value in (("channels", 36), ("cells", 20), ("pixels", 32), ("batch", 16), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=whole_number, default=value)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="own: seconds of this process alone, beside other work")
    options = parser.parse_args(arguments)
    can = computes_bfloat16()
    ways = options.ways or ["eager", *(["native"] if kernels.is_available() else []), *(["bfloat16"] if can else [])]
    core = one_core()
    gflops: list[float] = []
    rows = measure(options, list(dict.fromkeys(["published", *ways])), gflops)
    machine = {**facts(core, gflops, clock=options.clock), "computes_bfloat16": can}
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{machine}\n")
    for row in rows:
        sys.stdout.write(f"{row['genotype']} N={row['batch']} {row['way']:10}{row['seconds']:8.3f} s {row['ratio']:6.2f}x\n")
    if not can and "bfloat16" not in ways:
        sys.stdout.write(NO_BFLOAT16)


if __name__ == "__main__":
    main(sys.argv[1:])
