"""The machine that a benchmark runs on: one core of it, and how fast that core can multiply."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import torch

from darts_core.hardware.facts import device_facts
from darts_core.runtime.allocator import keep_freed_memory

CLOCKS = {"wall": time.perf_counter, "own": time.process_time}
"""``own`` counts the seconds of this process alone, all its threads together: for one thread on a machine that others use, too."""

_SIDE = 768
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # as Linux names them


def whole_number(text: str) -> int:
    """Return a whole number of at least 1 that an option was given. Raise ``argparse.ArgumentTypeError`` for anything else."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 expected. Got {text!r}.")
    return int(text)


def one_core(core: int | None = None) -> int | None:
    """Confine this process and torch to one core (the last it may use), as the stages do to the allocator; return its number.

    Raise ``ValueError`` for a core that this process may not use.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    if not hasattr(os, "sched_setaffinity"):
        return None
    found = os.sched_getaffinity(0)
    if core is not None and core not in found:
        raise ValueError(f"--core: one of those that this process may use expected, {', '.join(map(str, sorted(found)))}. Got {core}.")
    core = max(found) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def some_cores(number: int) -> list[int]:
    """Confine this process to the last ``number`` cores that it may use; return their numbers. Raise ``ValueError`` for too many.

    To be called ahead of any work, for the threads that torch has then would stay where they are.
    """
    keep_freed_memory()
    if not hasattr(os, "sched_setaffinity"):
        return []
    found = sorted(os.sched_getaffinity(0))
    if number > len(found):
        raise ValueError(f"--threads: as many as there are cores for this process, {len(found)}, expected. Got {number}.")
    os.sched_setaffinity(0, found[-number:])
    return found[-number:]


def peak_gflops(clock: str = "wall") -> float:
    """Return the float32 arithmetic that this core reaches now in a matrix product, GFLOP/s (a product and a sum are two)."""
    now = CLOCKS[clock]
    a, b = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    seconds = []
    for _ in range(12):
        start = now()
        torch.mm(a, b)
        seconds.append(now() - start)
    return 2.0 * _SIDE**3 / min(seconds) / 1e9


def computes_bfloat16() -> bool:
    """Return whether this CPU has instructions for bfloat16, as far as Linux tells; without them torch is slower with it than without."""
    return bool(_BFLOAT16 & set(device_facts(torch.device("cpu"))["host"]["isa"]))


def facts(core: int | list[int] | None, gflops: list[float], *, clock: str = "wall") -> dict[str, Any]:
    """Return what a reader needs to judge the figures: device, torch, core, clock, and the arithmetic peak of a core between the rows."""
    return {
        "device": device_facts(torch.device("cpu"))["description"],
        "torch": torch.__version__,
        "core": core,
        "clock": clock,
        "peak_gflops": statistics.median(gflops),
        "peak_gflops_range": [min(gflops), max(gflops)],
    }
