"""How the cost of a search step grows with batch, channels, cells and nodes, each varied alone: ``python -m benchmarks.growth [--json]``.

Seconds are those of a first-order step (arch step and weight step), MiB those of one forward and backward pass (as ``benchmarks.memory``
has them), GMAC the convolutions' multiply-adds of one forward pass of the batch. All sizes take turns: ``seconds`` is the base's median
times the median over the rounds of the size's seconds by the base's in the same round. One fit is cost = factor * size ** exponent, its
residual the root mean square of the relative error; the other a straight line: its cost at size 0, its slope and R squared. Nodes are
joined by edges (2 + 3 + ... in a cell), so the laws of nodes are given by edges too. Writes ``growth.csv``, ``fits.csv`` and
``growth.png`` to the folder ``--out``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks.machine import CLOCKS, facts, one_core, whole_number
from benchmarks.memory import in_a_process
from benchmarks.search_step import take_turns
from benchmarks.supernets import Size, backends, batch, build
from darts_core.metrics import count_macs
from darts_core.report.growth import plot_growth, power_law, straight_line
from darts_core.supernet.backend import BACKENDS

AXES = {"batch": [8, 16, 32, 64], "channels": [8, 16, 32], "cells": [3, 6, 12, 24], "nodes": [2, 3, 4]}
COSTS = ("seconds", "saved_mib", "peak_mib", "gmac")
PANELS = {"seconds of a step": {"seconds": "seconds"}, "MiB of a pass": {"peak_mib": "peak", "saved_mib": "saved"}}


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is measured: the images of a batch and the size of the supernet."""

    batch: int = 16
    channels: int = 16
    cells: int = 6
    nodes: int = 3

    @property
    def edges(self) -> int:
        """Edges of a cell: each node is joined to both inputs and to every node before it."""
        return sum(2 + node for node in range(self.nodes))

    def size(self, pixels: int) -> Size:
        """Return the supernet's size."""
        return Size(channels=self.channels, cells=self.cells, nodes=self.nodes, pixels=pixels)


def points(base: Point, values: dict[str, list[int]]) -> list[tuple[str, Point]]:
    """Return the points of each axis by name, in order; the base is one of each."""
    return [(axis, replace(base, **{axis: value})) for axis in AXES for value in sorted({getattr(base, axis), *values[axis]})]


def measure(wanted: Collection[Point], base: Point, options: argparse.Namespace, gflops: list[float]) -> dict[Point, dict[str, float]]:
    """Return the costs of each point; memory in processes of their own, and first, while this one holds nothing."""
    way = {"backend": options.backend, "memory": options.memory}
    passes = {point: in_a_process(point.size(options.pixels), point.batch, **way) for point in wanted}
    contenders = {point: build(point.size(options.pixels), order="first", **way) for point in wanted}
    batches = {
        point: [batch(point.size(options.pixels), point.batch, seed=seed, supernet=steps.supernet) for seed in (1, 2)]
        for point, steps in contenders.items()
    }
    turns = take_turns(contenders, batches, rounds=options.rounds, gflops=gflops, clock=options.clock)
    seconds = {point: own for (point, _), own in turns.items()}
    shape = (3, options.pixels, options.pixels)
    plain = {point: build(point.size(options.pixels), order="first", backend="reference", memory="normal").supernet for point in wanted}
    return {
        point: {
            "seconds": statistics.median(seconds[base]) * statistics.median(own / its for own, its in zip(seconds[point], seconds[base])),
            "saved_mib": passes[point]["saved_mib"],
            "peak_mib": passes[point]["peak_mib"],
            "gmac": point.batch * count_macs(plain[point], input_shape=shape) / 1e9,
        }
        for point in wanted
    }


def fits(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each axis of more than one value and each cost."""
    rows = []
    for axis in (*AXES, "edges"):
        varied = frame[frame["axis"] == ("nodes" if axis == "edges" else axis)]
        for cost in COSTS:
            own = varied[varied[cost] > 0.0]  # a small pass may fit into what the process holds already
            if len(own) > 1:
                x, y = own[axis].tolist(), own[cost].tolist()
                law, line = power_law(x, y), straight_line(x, y)
                rows.append(
                    {
                        "axis": axis,
                        "cost": cost,
                        "exponent": law.exponent,
                        "residual_percent": 100.0 * law.residual,
                        "at_zero": line.offset,
                        "slope": line.slope,
                        "r_squared": line.r_squared,
                    }
                )
    return pd.DataFrame(rows, columns=["axis", "cost", "exponent", "residual_percent", "at_zero", "slope", "r_squared"])


def main(arguments: list[str]) -> None:
    """Measure, write the folder, and print."""
    options = _options(arguments)
    base = Point(**dict(zip(AXES, options.base)))
    wanted = points(base, {axis: getattr(options, axis) for axis in AXES})
    core = one_core()
    gflops: list[float] = []
    costs = measure(list(dict.fromkeys(point for _, point in wanted)), base, options, gflops)
    machine = {**facts(core, gflops, clock=options.clock), "backend": options.backend, "memory": options.memory, "pixels": options.pixels}
    frame = pd.DataFrame(
        [{"axis": axis, "value": getattr(point, axis), **asdict(point), "edges": point.edges, **costs[point]} for axis, point in wanted]
    )
    laws = fits(frame)
    options.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.out / "growth.csv", index=False)
    laws.to_csv(options.out / "fits.csv", index=False)
    how = f"backend {options.backend}, memory {options.memory}; base: {_spelt(base, options.pixels)}"
    note = f"{machine['device']}; {how}; dotted: in proportion to the size"
    plot_growth(frame, options.out / "growth.png", panels=PANELS, title="Growth of a search step's cost", note=note, base=asdict(base))
    if options.json:
        found = {"machine": machine, "rows": frame.to_dict("records"), "fits": laws.to_dict("records")}
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    sys.stdout.write(f"{machine}\nbase: {_spelt(base, options.pixels)}\n\n")
    columns = ["axis", "value", *COSTS]
    sys.stdout.write(frame[columns].to_string(index=False, float_format="{:.3f}".format) + "\n\n")
    sys.stdout.write(laws.to_string(index=False, float_format="{:.4g}".format) + f"\n\n{options.out}/: growth.csv, fits.csv, growth.png\n")


def _spelt(base: Point, pixels: int) -> str:
    return ", ".join(f"{name} {value}" for name, value in {**asdict(base), "pixels": pixels}.items())


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, default=Path("reports/growth"), help="folder for the tables and the figure")
    parser.add_argument("--backend", choices=BACKENDS, default=backends()[-1])
    parser.add_argument("--memory", choices=["normal", "lean"], default="normal")
    base = list(asdict(Point()).values())
    parser.add_argument("--base", nargs=len(AXES), type=whole_number, default=base, metavar=tuple(map(str.upper, AXES)))
    for axis, values in AXES.items():
        parser.add_argument(f"--{axis}", nargs="*", type=whole_number, default=values, help="besides the base's")
    parser.add_argument("--pixels", type=whole_number, default=16)
    parser.add_argument("--rounds", type=whole_number, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="own: seconds of this process, beside other work")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
