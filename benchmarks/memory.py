"""Memory of one forward and backward pass of the supernet by backend: ``python -m benchmarks.memory [--json]``.

``saved_mib`` are the distinct tensors that autograd keeps for the backward pass, parameters left out; ``peak_mib`` is the largest
resident set over the one before the pass. Each row is a process of its own, for a process does not give its memory back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.machine import facts, one_core, peak_gflops, whole_number
from benchmarks.supernets import CPU, Size, backends, batch, build
from darts_core.runtime.allocator import return_freed_memory
from darts_core.runtime.memory import PeakMemory, resident_mib
from darts_core.supernet.backend import BACKENDS

MIB = 2**20


def measure(size: Size, *, number: int, backend: str, memory: str) -> dict[str, Any]:
    """Return one row, from within a process that has done nothing else."""
    one_core()
    steps = build(size, order="first", backend=backend, memory=memory)
    supernet, parameters = steps.supernet, list(steps.supernet.parameters())
    own = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in own:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    # A backend compiled for each shape is compiled here, for the compiler's own memory is none of the pass's.
    warm = batch(size, number if backend == "compiled" else 2, seed=0, supernet=steps.supernet)
    torch.autograd.grad(F.cross_entropy(supernet(warm[0]), warm[1]), parameters)
    images, labels = batch(size, number, seed=1, supernet=steps.supernet)
    return_freed_memory()  # else the pass would use it again and seem to need less
    start = resident_mib()
    with PeakMemory(CPU) as peak:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss = F.cross_entropy(supernet(images), labels)
        torch.autograd.grad(loss, parameters)
    return {
        "batch": number,
        "channels": size.channels,
        "cells": size.cells,
        "nodes": size.nodes,
        "backend": backend,
        "memory": memory,
        "saved_mib": sum(kept.values()) / MIB,
        "peak_mib": peak.as_dict("pass")["pass_rss_mib"] - start,
    }


def main(arguments: list[str]) -> None:
    """Measure, each row in a process of its own, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--batch", nargs="+", type=whole_number, default=[16, 64])
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="otherwise all but compiled that can be had here")
    parser.add_argument("--memory", nargs="+", choices=["normal", "lean"], default=["normal", "lean"])
    parser.add_argument("--here", action="store_true", help="one row, in this process")
    for name, value in vars(Size()).items():
        parser.add_argument(f"--{name}", type=whole_number, default=value)
    options = parser.parse_args(arguments)
    chosen = options.backend or backends()
    size = Size(channels=options.channels, cells=options.cells, nodes=options.nodes, pixels=options.pixels)
    if options.here:
        row = measure(size, number=options.batch[0], backend=chosen[0], memory=options.memory[0])
        sys.stdout.write(json.dumps(row) + "\n")
        return
    rows = [
        in_a_process(size, number, backend=backend, memory=memory)
        for number in options.batch
        for backend in chosen
        for memory in options.memory
    ]
    if options.json:
        sys.stdout.write(json.dumps({"machine": facts(one_core(), [peak_gflops()]), "rows": rows}, indent=1) + "\n")
        return
    for row in rows:
        sys.stdout.write(
            f"N={row['batch']:<4}{row['backend']:10}{row['memory']:7}{row['saved_mib']:9.0f} MiB saved {row['peak_mib']:9.0f} MiB peak\n"
        )


def in_a_process(size: Size, number: int, *, backend: str, memory: str) -> dict[str, Any]:
    """Return the row of :func:`measure` from a process that does nothing else."""
    sizes = [part for name, value in vars(size).items() for part in (f"--{name}", str(value))]
    chosen = ["--batch", str(number), "--backend", backend, "--memory", memory]
    command = [sys.executable, "-m", "benchmarks.memory", "--here", *chosen, *sizes]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # what it says of a failure is for everybody to read
    if done.returncode:
        raise SystemExit(f"{backend}, {memory}, N={number}: no row (exit status {done.returncode}).")
    row: dict[str, Any] = json.loads(done.stdout)
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
