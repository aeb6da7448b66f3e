"""Whether the supernet orders architectures as their own training does: the correlation epoch by epoch, and the last comparison itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from darts_core.report import palette, style
from darts_core.report.curves import draw_curve, epoch_axis

COEFFICIENTS = (("tau", "Kendall's tau", palette.BLUE), ("rho", "Spearman's rho", palette.ORANGE))


def plot_rank_disorder(history: pd.DataFrame, ranks: pd.DataFrame, path: str | Path) -> Path:
    """Draw both coefficients with their intervals against the epoch, and the accuracies of the last comparison; return ``path``.

    ``history`` has the columns epoch, rank_tau, rank_tau_low, rank_tau_high and the same of rank_rho, as far as they are known; ``ranks``
    has epoch, supernet_acc and own_acc (percent) of each architecture. Raise ``ValueError`` where a column is missing, or every row.
    """
    wanted = {"history": (history, ("epoch",)), "ranks": (ranks, ("epoch", "supernet_acc", "own_acc"))}
    for name, (table, columns) in wanted.items():
        if table.empty or not set(columns) <= set(table):
            raise ValueError(
                f"Rank disorder: {name} with the columns {', '.join(columns)} expected. Got {len(table)} rows of {list(table)}."
            )
    last = int(ranks["epoch"].max())
    compared = ranks[ranks["epoch"] == last]
    with style.look():
        figure = style.new_figure(8.2, 3.75)
        style.head(
            figure,
            "Rank disorder",
            note=f"{len(compared)} random architectures: order by the supernet's weights against order by their own training",
        )
        _over_epochs(style.place(figure, left=0.75, top=1.05, width=2.75, height=2.1), history[history["epoch"].isin(ranks["epoch"])])
        _compared(style.place(figure, left=5.65, top=1.05, width=2.1, height=2.1), compared, last)
        return style.save(figure, path)


def _over_epochs(axes: Axes, history: pd.DataFrame) -> None:
    """A band for each interval; bars where one epoch alone was looked at, since a band without width would not show."""
    epochs = history["epoch"]
    ends = []
    for key, label, colour in COEFFICIENTS:
        columns = [f"rank_{key}", f"rank_{key}_low", f"rank_{key}_high"]
        if not set(columns) <= set(history):
            continue
        value, low, high = (history[column] for column in columns)
        if len(history) > 1:
            axes.fill_between(
                epochs.to_numpy(dtype=float), low.to_numpy(dtype=float), high.to_numpy(dtype=float), color=colour, alpha=0.13, linewidth=0
            )
        else:
            axes.vlines(epochs, low, high, color=colour, linewidth=1.2, alpha=0.6)
        ends += draw_curve(axes, epochs, value, label=label, colour=colour)
    axes.set_title("Correlation, with 95 % intervals", fontsize=9.5, pad=7)
    axes.axhline(0.0, color=palette.MUTED, linewidth=0.8, zorder=1)
    epoch_axis(axes, epochs)
    axes.set(xlabel="epoch", ylabel="rank correlation", ylim=(-1.0, 1.0))
    style.end_labels(axes, ends)


def _compared(axes: Axes, compared: pd.DataFrame, epoch: int) -> None:
    x, y = (compared[column].to_numpy(dtype=float) for column in ("supernet_acc", "own_acc"))
    axes.plot(x, y, linestyle="none", marker="o", markersize=4.5, color=palette.BLUE, alpha=0.75, markeredgewidth=0)
    axes.set_title(f"Epoch {epoch}", fontsize=9.5, pad=7)
    axes.set(xlabel="by the supernet's weights (%)", ylabel="by own training (%)")
    for set_limits, values in ((axes.set_xlim, x), (axes.set_ylim, y)):
        room = max(1.0, 0.06 * float(np.ptp(values)))
        set_limits(float(values.min()) - room, float(values.max()) + room)
