"""Seconds of a search step (arch step and weight step) by backend: ``python -m benchmarks.search_step [--json]``.

Every backend takes its turn in each round; the ratio is the median over the rounds of reference's seconds by its own in the same round.
``fma_share`` is the convolutions' arithmetic (``ArchGradient.operations``) by the seconds, as a share of what the core reaches in a
matrix product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.machine import facts, one_core, peak_gflops
from benchmarks.supernets import ORDERS, Size, backends, batch, build
from darts_core.metrics import count_macs
from darts_core.search.bilevel import ARCH_GRADIENTS, Batch
from darts_core.search.steps import Bilevel
from darts_core.supernet.backend import BACKENDS

Key = TypeVar("Key", bound=Hashable)


def ways(chosen: Sequence[str]) -> list[tuple[str, str]]:
    """Return backends and memory modes, what the ratio is to first; reference in mode lean is nobody's choice."""
    named = ["reference", *(name for name in chosen if name != "reference")]
    return [(backend, memory) for backend in named for memory in ("normal", "lean") if (backend, memory) != ("reference", "lean")]


def take_turns(
    contenders: Mapping[Key, Bilevel], batches: Mapping[Key, Sequence[Batch]], *, rounds: int, gflops: list[float]
) -> dict[Key, list[float]]:
    """Return each contender's seconds a step in each round, on its (training, validation) batch; ``gflops`` gets the core's peak, too."""
    seconds: dict[Key, list[float]] = {key: [] for key in contenders}
    for taken in range(rounds + 1):  # the first warms up
        gflops.append(peak_gflops())
        for key, steps in contenders.items():
            train, valid = batches[key]
            start = time.perf_counter()
            steps.arch_step(train=train, valid=valid, lr=0.025)
            steps.weight_step(train, lr=0.025)
            if taken:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def measure(size: Size, chosen: Sequence[str], *, order: str, number: int, rounds: int, gflops: list[float]) -> list[dict[str, Any]]:
    """Return a row a backend and memory mode."""
    contenders = {way: build(size, order=order, backend=way[0], memory=way[1]) for way in ways(chosen)}
    batches = {way: [batch(size, number, seed=seed, bilevel=steps) for seed in (1, 2)] for way, steps in contenders.items()}
    seconds = take_turns(contenders, batches, rounds=rounds, gflops=gflops)
    macs = count_macs(build(size, order=order, backend="reference", memory="normal").supernet, input_shape=(3, size.pixels, size.pixels))
    work = ARCH_GRADIENTS.build(ORDERS[order]).operations * macs * number / 1e9
    return [
        {
            "order": order,
            "batch": number,
            "channels": size.channels,
            "cells": size.cells,
            "nodes": size.nodes,
            "backend": backend,
            "memory": memory,
            "seconds": statistics.median(own),
            "ratio": statistics.median(theirs / mine for theirs, mine in zip(seconds["reference", "normal"], own)),
            "fma_share": work / statistics.median(own) / statistics.median(gflops),
        }
        for (backend, memory), own in seconds.items()
    ]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=["first", "second"])
    parser.add_argument("--batch", nargs="+", type=int, default=[16])
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="beside reference; otherwise all but compiled that can be had here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, help="the core to run on; the last one otherwise")
    for name, value in vars(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args(arguments)
    size = Size(channels=options.channels, cells=options.cells, nodes=options.nodes, pixels=options.pixels)
    core = one_core(options.core)
    gflops: list[float] = []
    rows: list[dict[str, Any]] = []
    for order in options.order:
        for number in options.batch:
            rows += measure(size, options.backend or backends(), order=order, number=number, rounds=options.rounds, gflops=gflops)
    if options.json:
        sys.stdout.write(json.dumps({"machine": facts(core, gflops), "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{facts(core, gflops)}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['order']:6} N={row['batch']:<4}{row['backend']:10}{row['memory']:7}"
            f"{row['seconds']:8.3f} s {row['ratio']:6.2f}x {100 * row['fma_share']:5.1f} %\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
