"""``darts genotype``: check a genotype, show it as a table, draw it."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from darts_core.cli.command import Command

if TYPE_CHECKING:
    from darts_core.genotype import Cell, Genotype


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``darts genotype``."""
    what = "a genotype.json, a published genotype (darts genotypes), or a string of NAS-Bench-201 in quotes"
    parser.add_argument("genotype", metavar="FILE_OR_NAME", help=what)
    parser.add_argument("--draw", metavar="FOLDER", type=Path, help="write the cells as SVG, PNG and DOT into this folder")


def run(args: argparse.Namespace) -> int:
    """Validate the genotype against its space, print it, and draw it if asked."""
    from darts_core.spaces import SPACES

    genotype = find(args.genotype)
    has_no_reduction = "cells" in SPACES.options(genotype.space) and "reduce" not in genotype.cells
    space = SPACES.build(genotype.space, {"cells": ["normal"]} if has_no_reduction else {})
    space.check(genotype, any_size=True)
    sys.stdout.write(f"{args.genotype}: space {genotype.space}, rule {genotype.rule}\n{table(genotype)}")
    if space.spell is not None:
        sys.stdout.write(f"{space.spell(genotype)}\n")
    if args.draw is not None:
        from darts_core.report.cell_drawing import draw_cell

        args.draw.mkdir(parents=True, exist_ok=True)
        for cell_type in genotype.cells:
            for path in draw_cell(genotype, cell_type, args.draw, f"cell_{cell_type}"):
                sys.stdout.write(f"wrote {path}\n")
    return 0


def find(file_or_name: str) -> Genotype:
    """Return the genotype in a file, or the published one of that name. Raise ``GenotypeError`` where there is neither."""
    from darts_core.genotype import Genotype, GenotypeError, published, published_names
    from darts_core.registry import suggest
    from darts_core.spaces.nasbench201 import from_string

    if file_or_name.startswith("|"):
        return from_string(file_or_name)
    if file_or_name in published_names():
        return published(file_or_name)
    path = Path(file_or_name)
    if path.exists() or path.suffix or path.name != file_or_name:
        return Genotype.load(path)
    near = suggest(file_or_name, published_names())
    raise GenotypeError(f"{file_or_name}: neither a file nor a published genotype{near}. `darts genotypes` lists those.")


def table(genotype: Genotype) -> str:
    """Return the cells as text: a line for each node, a column for each edge that enters it."""
    lines = []
    for cell_type, cell in genotype.cells.items():
        counts = Counter(edge.op for _, edge in cell.edges)
        lines.append(f"{cell_type} cell: " + ", ".join(f"{counts[op]} {op}" for op in sorted(counts, key=lambda op: (-counts[op], op))))
        rows = [[f"{_state(edge.src, cell)}: {edge.op}" for edge in edges] for edges in cell.nodes]
        width = max(len(text) for row in rows for text in row)
        for state, row in enumerate(rows, start=cell.inputs):
            lines.append(f"  {_state(state, cell):<8} {'   '.join(text.ljust(width) for text in row)}".rstrip())
        lines.append(f"  output   {', '.join(_state(state, cell) for state in cell.concat)}")
    return "\n".join(lines) + "\n"


def _state(state: int, cell: Cell) -> str:
    return f"input {state}" if state < cell.inputs else f"node {state}"


COMMAND = Command(summary="check and show a genotype, a file or a published one", declare=declare, run=run)
