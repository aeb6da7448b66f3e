"""Seconds of a search step (arch step and weight step) by backend: ``python -m benchmarks.search_step [--json]``.

Every backend takes its turn in each round; the ratio is the median over the rounds of reference's seconds by its own in the same round,
``ratio_published`` that of the seconds of a step which does all that the published code does (:mod:`benchmarks.published`).
``fma_share`` is the convolutions' arithmetic (``ArchGradient.operations``) by the seconds, as a share of what the cores reach in a
matrix product. ``scaling`` is how many times as fast a row is as the same with the first number of ``--threads``, in the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from benchmarks.machine import CLOCKS, facts, one_core, peak_gflops, some_cores, whole_number
from benchmarks.published import PublishedSteps
from benchmarks.supernets import ORDERS, Size, backends, batch, build
from darts_core.metrics import count_macs
from darts_core.search.bilevel import ARCH_GRADIENTS, Batch
from darts_core.search.steps import Bilevel
from darts_core.supernet.backend import BACKENDS

Key = TypeVar("Key", bound=Hashable)
Row = dict[str, Any]
PUBLISHED, REFERENCE = ("published", "normal"), ("reference", "normal")


def ways(chosen: Sequence[str], modes: Sequence[str] = ("normal", "lean")) -> list[tuple[str, str]]:
    """Return backends and memory modes, reference first, whose mode lean is nobody's choice."""
    return [REFERENCE, *((backend, memory) for backend in chosen if backend != "reference" for memory in modes)]


def take_turns(
    contenders: Mapping[Key, Bilevel | PublishedSteps],
    batches: Mapping[Key, Sequence[Batch]],
    *,
    rounds: int,
    gflops: list[float],
    clock: str = "wall",
    threads: Sequence[int] = (1,),
) -> dict[tuple[Key, int], list[float]]:
    """Return each contender's seconds a step in each round by number of threads, on its (training, validation) batch.

    ``gflops`` gets a core's peak, too.
    """
    now = CLOCKS[clock]
    seconds: dict[tuple[Key, int], list[float]] = {(key, number): [] for key in contenders for number in threads}
    for taken in range(rounds + 1):  # the first warms up
        torch.set_num_threads(1)
        gflops.append(peak_gflops(clock))
        for key, number in seconds:
            torch.set_num_threads(number)
            train, valid = batches[key]
            start = now()
            contenders[key].arch_step(train=train, valid=valid, lr=0.025)
            contenders[key].weight_step(train, lr=0.025)
            if taken:
                seconds[key, number].append(now() - start)
    return seconds


def measure(size: Size, chosen: Sequence[str], *, order: str, number: int, options: argparse.Namespace, gflops: list[float]) -> list[Row]:
    """Return a row a backend, memory mode and number of threads."""
    plain = build(size, order=order, backend="reference", memory="normal")
    contenders: dict[tuple[str, str], Bilevel | PublishedSteps] = {}
    if order != "exact":  # which the published code does not have
        contenders[PUBLISHED] = PublishedSteps(plain, second=order == "second")
    contenders |= {way: build(size, order=order, backend=way[0], memory=way[1]) for way in ways(chosen, options.memory)}
    batches = {way: [batch(size, number, seed=seed, supernet=steps.supernet) for seed in (1, 2)] for way, steps in contenders.items()}
    threads = options.threads
    seconds = take_turns(contenders, batches, rounds=options.rounds, gflops=gflops, clock=options.clock, threads=threads)
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
            "threads": count,
            "seconds": statistics.median(own),
            "ratio": _faster(own, seconds[REFERENCE, count]),
            "ratio_published": _faster(own, seconds[PUBLISHED, count]) if PUBLISHED in contenders else None,
            "scaling": _faster(own, seconds[(backend, memory), threads[0]]),
            "fma_share": work / statistics.median(own) / statistics.median(gflops) / count,
        }
        for ((backend, memory), count), own in seconds.items()
    ]


def _faster(own: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over the rounds of the other's seconds by one's own."""
    return statistics.median(theirs / mine for theirs, mine in zip(other, own))


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=["first", "second"])
    parser.add_argument("--batch", nargs="+", type=whole_number, default=[16])
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="beside reference; otherwise all but compiled that can be had here")
    parser.add_argument("--memory", nargs="+", choices=["normal", "lean"], default=["normal", "lean"])
    parser.add_argument("--rounds", type=whole_number, default=5)
    parser.add_argument("--core", type=int, help="with one thread: the core to run on; the last one otherwise")
    threads = "each in turn, on as many cores; scaling is against the first"
    parser.add_argument("--threads", nargs="+", type=whole_number, default=[1], help=threads)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="own: seconds of this process alone, with one thread")
    for name, value in vars(Size()).items():
        parser.add_argument(f"--{name}", type=whole_number, default=value)
    options = parser.parse_args(arguments)
    size = Size(channels=options.channels, cells=options.cells, nodes=options.nodes, pixels=options.pixels)
    if options.clock == "own" and options.threads != [1]:
        parser.error("--clock own adds up the seconds of all threads: with --threads other than 1 use --clock wall.")
    if options.core is not None and options.threads != [1]:
        parser.error("--core is for one thread: without --threads.")
    try:
        core: int | list[int] | None = one_core(options.core) if options.threads == [1] else some_cores(max(options.threads))
    except ValueError as error:
        parser.error(str(error))
    gflops: list[float] = []
    rows: list[Row] = []
    for order in options.order:
        for number in options.batch:
            rows += measure(size, options.backend or backends(), order=order, number=number, options=options, gflops=gflops)
    machine = facts(core, gflops, clock=options.clock)
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{machine}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['order']:6} N={row['batch']:<4}{row['backend']:10}{row['memory']:7}"
            f"{row['threads']:2} {row['seconds']:8.3f} s {row['ratio']:6.2f}x {_printed(row['ratio_published'])} "
            f"{100 * row['fma_share']:5.1f} % {row['scaling']:6.2f}\n"
        )


def _printed(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:6.2f}x of published"


if __name__ == "__main__":
    main(sys.argv[1:])
