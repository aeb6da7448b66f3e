"""Seconds of a recurrent search step (arch step and weight step) by backend: ``python -m benchmarks.rnn_step [--json]``.

``reference`` is the loop over time, nodes and edges, ``eager`` all of it in one function, ``native`` that by kernels, where a compiler is
found. All take their turn in each round, on the same windows; the ratio is the median over the rounds of the first one's seconds by its
own in the same round. ``fma_share`` is the arithmetic of the matrix products by the seconds, as a share of what the core reaches in a
large product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import CLOCKS, facts, one_core, peak_gflops, whole_number
from benchmarks.supernets import CPU, ORDERS
from darts_core.config import SearchConfig
from darts_core.data.windows import Window
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.search.bilevel import ARCH_GRADIENTS
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.recurrent import RecurrentSupernet

LR = 20.0


def build(backend: str, options: argparse.Namespace, *, order: str) -> Bilevel:
    """Return the steps of the relaxed language model by the reference's recipe."""
    space = SPACES.build("darts_rnn", {"hidden": options.hidden, "nodes": options.nodes, "bptt": options.bptt})
    method = METHODS.build("darts", {"arch_gradient": ORDERS[order]})
    torch.manual_seed(0)
    supernet = method.supernet(space, in_channels=options.words, num_classes=options.words, generator=torch.Generator().manual_seed(0))
    supernet.use(BACKENDS[backend](), CPU)
    return Bilevel(supernet, method, SearchConfig(lr=LR, momentum=0.0, weight_decay=5e-7, grad_clip=0.25, arch_lr=3e-3))


def window(options: argparse.Namespace, seed: int) -> tuple[Window, Tensor]:
    """Return a window of random words and its targets."""
    tokens = torch.randint(options.words, (options.bptt + 1, options.batch), generator=torch.Generator().manual_seed(seed))
    return Window(tokens[:-1]), tokens[1:].flatten()


def backends() -> list[str]:
    """Return those that can be measured here."""
    return [name for name in RecurrentSupernet.backends if name != "native" or kernels.is_available(kernels.RECURRENT)]


def measure(options: argparse.Namespace, *, order: str, gflops: list[float]) -> list[dict[str, Any]]:
    """Return a row a backend."""
    now = CLOCKS[options.clock]
    contenders = {backend: build(backend, options, order=order) for backend in options.backend or backends()}
    seconds: dict[str, list[float]] = {backend: [] for backend in contenders}
    for taken in range(options.rounds + 1):  # the first warms up
        gflops.append(peak_gflops(options.clock))
        for backend, steps in contenders.items():
            train, valid = window(options, 2 * taken), window(options, 2 * taken + 1)
            start = now()
            steps.arch_step(train=train, valid=valid, lr=LR)
            steps.weight_step(train, lr=LR)
            if taken:
                seconds[backend].append(now() - start)
    forward = next(iter(contenders.values())).supernet.count_macs((options.batch, options.bptt))
    work = ARCH_GRADIENTS.build(ORDERS[order]).operations * forward / 1e9
    return [
        {
            "order": order,
            "backend": backend,
            "seconds": statistics.median(own),
            "ratio": statistics.median(theirs / mine for theirs, mine in zip(next(iter(seconds.values())), own)),
            "fma_share": work / statistics.median(own) / statistics.median(gflops),
        }
        for backend, own in seconds.items()
    ]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rnn_step", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=["first", "second"])
    parser.add_argument("--backend", nargs="+", choices=backends(), help="all that can be had here otherwise")
    for name, value in (("hidden", 300), ("nodes", 8), ("bptt", 35), ("batch", 64), ("words", 10_000), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=whole_number, default=value)
    parser.add_argument("--core", type=int, help="the core to run on; the last one otherwise")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="own: seconds of this process alone")
    options = parser.parse_args(arguments)
    try:
        core = one_core(options.core)
    except ValueError as error:
        parser.error(str(error))
    gflops: list[float] = []
    rows = [row for order in options.order for row in measure(options, order=order, gflops=gflops)]
    if options.json:
        sys.stdout.write(json.dumps({"machine": facts(core, gflops, clock=options.clock), "rows": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"{facts(core, gflops, clock=options.clock)}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['order']:6} {row['backend']:10}{row['seconds']:8.3f} s {row['ratio']:6.2f}x {100 * row['fma_share']:5.1f} %\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
