"""What the search believed, epoch by epoch: mean weights as curves, every edge as a heatmap.

The table that goes in is long: a row for each epoch, cell, edge (``source-destination`` states), op, with its weight (0 to 1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from darts_core.report import palette, style
from darts_core.report.cell_drawing import CELL_TITLES
from darts_core.report.curves import PHASES_NOTE, draw_curve, epoch_axis, mark_phases
from darts_core.report.graph import state_name

CELL_WIDTH, CELL_HEIGHT = 0.74, 0.27  # of the heatmap, inches


def wide(frame: pd.DataFrame, cell: str) -> pd.DataFrame:
    """Return the mean weight over the edges of ``cell``: the column ``epoch``, then one an operation in the table's order.

    Raise ``ValueError`` where the table lacks a column or the cell.
    """
    rows = _rows_of(frame, cell)
    means = rows.pivot_table(index="epoch", columns="op", values="weight", aggfunc="mean", dropna=False)
    return means[list(dict.fromkeys(rows["op"]))].rename_axis(columns=None).reset_index()


def plot_curves(frame: pd.DataFrame, cell: str, path: str | Path, *, phases: Sequence[int] = ()) -> Path:
    """Draw the mean weight of each operation over the edges of ``cell`` against the epoch; return ``path``.

    ``phases`` are the first epochs of the search's later phases, which are marked.
    """
    means = wide(frame, cell)
    ops = [str(op) for op in means.columns[1:]]
    dashes = palette.dashes(ops)
    with style.look():
        figure = style.new_figure(7.2, 4.1)
        style.head(
            figure,
            f"{_title(cell)}: mean weight of each operation",
            note="; ".join(["mean over the edges", *([PHASES_NOTE] if phases else [])]),
        )
        axes = style.place(figure, left=0.75, top=0.85, width=4.95, height=2.7)
        ends = []
        for op in ops:
            colour = palette.family(op).colour
            ends += draw_curve(axes, means["epoch"], means[op], label=style.shorten(op, 18), colour=colour, dash=dashes[op])
        axes.set(xlabel="epoch", ylabel="mean weight")
        epoch_axis(axes, means["epoch"])
        mark_phases(axes, phases)
        axes.set_ylim(bottom=0, top=1.08 * axes.dataLim.y1 if ends else 1.0)
        style.end_labels(axes, ends)
        return style.save(figure, path)


def plot_heatmap(frame: pd.DataFrame, cell: str, epoch: int, path: str | Path) -> Path:
    """Draw the weight of every operation on every edge of ``cell`` after ``epoch``; return ``path``.

    The colour scale is the same for every epoch, so that the pictures can be stepped through. The strongest operation of an edge is
    bold. Raise ``ValueError`` where the table lacks a column, the cell or the epoch.
    """
    rows = _rows_of(frame, cell)
    now = rows[rows["epoch"] == epoch]
    if now.empty:
        raise ValueError(f"The table of alphas: epochs {rows['epoch'].min()} to {rows['epoch'].max()} expected. Got {epoch}.")
    edges, ops = list(dict.fromkeys(now["edge"])), list(dict.fromkeys(now["op"]))
    grid = now.pivot_table(index="edge", columns="op", values="weight", aggfunc="mean", dropna=False).reindex(index=edges, columns=ops)
    width, height = CELL_WIDTH * len(ops), CELL_HEIGHT * len(edges)
    with style.look():
        figure = style.new_figure(max(1.05 + width + 0.75, 5.2), 0.72 + 0.85 + height + 0.25)
        style.head(
            figure, f"{_title(cell)}: weight of each operation on each edge", note=f"after epoch {epoch}; bold: the strongest of an edge"
        )
        axes = style.place(figure, left=1.05, top=1.57, width=width, height=height)
        _cells(axes, grid.to_numpy(dtype=float))
        _sides(axes, edges, ops)
        return style.save(figure, path)


def _rows_of(frame: pd.DataFrame, cell: str) -> pd.DataFrame:
    if missing := {"epoch", "cell", "edge", "op", "weight"} - set(frame.columns):
        raise ValueError(f"The table of alphas: the columns epoch, cell, edge, op and weight expected. Missing {sorted(missing)}.")
    rows = frame[frame["cell"] == cell]
    if rows.empty:
        raise ValueError(f"The table of alphas: one of the cells {sorted(frame['cell'].unique())} expected. Got {cell!r}.")
    return rows


def _title(cell: str) -> str:
    return CELL_TITLES.get(cell, f"{cell.capitalize()} cell")


def _cells(axes: Axes, grid_EO: np.ndarray) -> None:
    colours = matplotlib.colormaps["Blues"].with_extremes(bad=palette.WASH)
    axes.imshow(grid_EO, cmap=colours, norm=PowerNorm(0.6, vmin=0.0, vmax=1.0, clip=True), aspect="auto", interpolation="nearest")
    for (e, o), weight in np.ndenumerate(grid_EO):
        if np.isnan(weight):
            axes.text(o, e, "\u2013", ha="center", va="center", fontsize=8, color=palette.MUTED)
            continue
        is_strongest = weight == np.nanmax(grid_EO[e])
        axes.text(
            o,
            e,
            f"{weight:.3f}",
            ha="center",
            va="center_baseline",
            fontsize=8,
            fontweight="bold" if is_strongest else "normal",
            color=palette.PAPER if weight > 0.4 else palette.INK,
        )


def _sides(axes: Axes, edges: list[str], ops: list[str]) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(ops)), ops, rotation=32, ha="left", rotation_mode="anchor")
    for tick, op in zip(axes.get_xticklabels(), ops):
        tick.set_color(palette.family(op).colour)
    axes.set_yticks(range(len(edges)), _edge_names(edges), parse_math=True)
    for e in range(1, len(edges)):
        same = edges[e].rpartition("-")[2] == edges[e - 1].rpartition("-")[2]
        axes.axhline(e - 0.5, color=palette.PAPER, linewidth=0.6 if same else 3.5)
    for o in range(1, len(ops)):
        axes.axvline(o - 0.5, color=palette.PAPER, linewidth=0.6)


def _edge_names(edges: list[str]) -> list[str]:
    """Name the states as the drawings do: ``0-3`` is what flows from c_{k-2} into node 3, in a cell of two inputs."""
    matches = [re.fullmatch(r"(\d+)-(\d+)", str(edge)) for edge in edges]
    inputs = min((int(match[2]) for match in matches if match is not None), default=2)  # the first node follows the inputs
    return [str(edge) if match is None else _edge_name(match, inputs) for edge, match in zip(edges, matches)]


def _edge_name(match: re.Match[str], inputs: int) -> str:
    src, dst = (state_name(int(state), inputs=inputs) for state in match.groups())
    symbol, gap, number = src.partition(" ")
    return f"${symbol}$ {number} \u2192 {dst}" if gap else f"{src} \u2192 {dst}"
