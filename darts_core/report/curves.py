"""Curves against epochs that stay visible whatever comes: one epoch, gaps, no value at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from darts_core.report import palette
from darts_core.report.style import EndLabel

PHASES_NOTE = "dashed: the next phase begins"
BACK_NOTE = "dotted: the loss was no number, back to the best epoch's weights"

Dash = str | tuple[float, tuple[float, ...]]


def draw_curve(
    axes: Axes,
    epochs: pd.Series,
    values: pd.Series,
    *,
    label: str,
    colour: str,
    dash: Dash = "solid",
    width: float = 1.7,
    is_joined: bool = True,
) -> list[EndLabel]:
    """Draw ``values`` against ``epochs`` and return the label of the end; none where no value is finite.

    A point without finite neighbours gets a marker, since a line through it would be invisible; NaN and infinity are gaps.
    Where they are not ``is_joined``, all are markers.
    """
    x, y = epochs.to_numpy(dtype=float), values.to_numpy(dtype=float)
    is_finite = np.isfinite(y)
    if not is_finite.any():
        return []
    y = np.where(is_finite, y, np.nan)
    axes.plot(x, y, color=colour, linestyle=dash if is_joined else "none", linewidth=width)
    before, after = np.r_[False, is_finite[:-1]], np.r_[is_finite[1:], False]
    is_alone = is_finite & ~before & ~after if is_joined else is_finite
    axes.plot(x[is_alone], y[is_alone], color=colour, linestyle="none", marker="o", markersize=4.5, clip_on=is_joined)
    last = int(np.flatnonzero(is_finite)[-1])
    return [EndLabel(float(x[last]), float(y[last]), label, colour)]


def epoch_axis(axes: Axes, epochs: pd.Series) -> None:
    """Whole epochs on the x axis, from the first to the last one; a single epoch stands in the middle."""
    first, last = float(epochs.min()), float(epochs.max())
    axes.set_xlim((first, last) if last > first else (first - 1, first + 1))
    if last > first:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=2))
    else:
        axes.set_xticks([first])
    axes.margins(y=0.08)


def phase_starts(history: pd.DataFrame) -> list[int]:
    """Return the first epoch of each phase after the first one: where the column ``phase`` of ``history`` changes."""
    if "phase" not in history:
        return []
    is_first = history["phase"].ne(history["phase"].shift())
    return [int(epoch) for epoch in history.loc[is_first, "epoch"].iloc[1:]]


def backs(history: pd.DataFrame) -> list[int]:
    """Return the epochs whose loss was no number, and whose weights went back: where the column ``rolled_back`` is set."""
    return [] if "rolled_back" not in history else [int(epoch) for epoch in history.loc[history["rolled_back"] > 0, "epoch"]]


def mark_backs(axes: Axes, epochs: Sequence[int]) -> None:
    """Draw a line at each epoch that went back; ``BACK_NOTE`` says what it is."""
    for epoch in epochs:
        axes.axvline(epoch, color=palette.ORANGE, linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=1.5)


def mark_phases(axes: Axes, starts: Sequence[int]) -> None:
    """Draw a line ahead of the first epoch of each later phase; ``PHASES_NOTE`` says what it is."""
    for start in starts:
        axes.axvline(start - 0.5, color=palette.MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
