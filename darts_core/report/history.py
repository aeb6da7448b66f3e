"""How training went: loss, accuracy and learning rate against the epoch, for one network or several over one another.

A history is a table with the column ``epoch``, or ``architecture`` where each row is of one that was trained alone, and any of
train_loss, valid_loss, train_acc, valid_acc (percent), train_ppl, valid_ppl, lr.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from darts_core.report import palette, style
from darts_core.report.curves import BACK_NOTE, PHASES_NOTE, backs, draw_curve, epoch_axis, mark_backs, mark_phases, phase_starts

PANELS = (
    ("loss", "loss", "cross entropy (nats)"),
    ("acc", "accuracy", "top-1 accuracy (%)"),
    ("ppl", "perplexity", "perplexity"),
    ("lr", "learning rate", "learning rate"),
)
LARGEST_DRAWN = 1e30
_TICKS = (  # where the highest value is less than so many times the lowest one: as many as there is room for
    (3.0, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)),
    (30.0, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (1e3, (1.0, 2.0, 5.0)),
)
_LARGEST_IN_FULL = 1e5
SPLITS = (("train", palette.GREY), ("valid", palette.BLUE))
STEPS = ("epoch", "architecture")


def step_of(columns: Iterable[Hashable]) -> str:
    """Return what a row of a history with these ``columns`` is of: ``epoch`` or ``architecture``."""
    return next((step for step in STEPS if step in {*columns}), STEPS[0])


def plot_history(history: pd.DataFrame, path: str | Path, *, title: str, chosen: int | None = None) -> Path:
    """Draw one panel each for loss, accuracy, perplexity and learning rate, as far as the table has them; return ``path``.

    Training is grey, validation blue; the epoch of highest validation accuracy, or lowest perplexity, is ringed. Architectures are points:
    nothing leads from one to the next; the row ``chosen`` of them is ringed. Where the column ``phase`` changes, a line says so.
    """
    step = step_of(history)
    _check(history, title, step)
    panels = [panel for panel in PANELS if _columns(history, panel[0])]
    if not panels:
        raise ValueError(f"{title}: a history with a loss, an accuracy or lr expected. Got the columns {list(history.columns)}.")
    with style.look():
        figure = style.new_figure(0.2 + 3.55 * len(panels), 3.35)
        notes = (_best_note(history, step, chosen), PHASES_NOTE if phase_starts(history) else "", BACK_NOTE if backs(history) else "")
        style.head(figure, title, note="; ".join(filter(None, notes)))
        for k, (suffix, heading, unit) in enumerate(panels):
            axes = style.place(figure, left=0.75 + 3.55 * k, top=1.02, width=2.35, height=1.78)
            axes.set_title(heading.capitalize(), fontsize=9.5, pad=7)
            _panel(axes, history, suffix, unit, step, chosen)
        return style.save(figure, path)


def plot_histories(histories: Mapping[str, pd.DataFrame], path: str | Path, *, title: str, column: str = "valid_acc") -> Path:
    """Draw ``column`` of several networks, by name, over one another; return ``path``. The first one stands out.

    A network without the column is left out; raise ``ValueError`` where none has it.
    """
    shown = {name: history for name, history in histories.items() if column in history and history[column].notna().any()}
    if not shown:
        raise ValueError(f"{title}: at least one history with a value of '{column}' expected. Got {list(histories)} without any.")
    unit = next((unit for suffix, _, unit in PANELS if column.endswith(suffix)), column)
    prefix = "validation " if column.startswith("valid") else "training "
    colours = palette.network_colours(list(shown))
    floor = _floor([history[column] for history in shown.values()]) if column.endswith("acc") else None
    height = max(2.85, 0.165 * len(shown))
    with style.look():
        figure = style.new_figure(7.2, height + 1.45)
        style.head(figure, title, note="" if floor is None else "the first epochs lie below the frame")
        axes = style.place(figure, left=0.75, top=0.85, width=4.85, height=height)
        ends = []
        for name, history in reversed(shown.items()):  # the first one on top
            width, label = (2.4 if name == next(iter(shown)) else 1.4), style.shorten(name, 18)
            ends += draw_curve(axes, history["epoch"], _drawable(history[column]), label=label, colour=colours[name], width=width)
        axes.set(xlabel="epoch", ylabel=prefix + unit)
        epoch_axis(axes, pd.concat([history["epoch"] for history in shown.values()]))
        axes.set_ylim(bottom=floor)
        if column.endswith("acc"):
            _end_at_100(axes)
        if column.endswith("ppl"):
            _logarithmic(axes)
        style.end_labels(axes, ends)
        return style.save(figure, path)


def _check(history: pd.DataFrame, title: str, step: str) -> None:
    if step not in history or history.empty:
        raise ValueError(
            f"{title}: a history with the column 'epoch' and at least one row expected. Got {len(history)} rows of {list(history)}."
        )


def _drawable(values: pd.Series) -> pd.Series:
    """Leave out what no axis takes: the perplexity of a model that is worse than any guess."""
    return values.where(values.abs() < LARGEST_DRAWN)


def _columns(history: pd.DataFrame, suffix: str) -> list[tuple[str, str, str]]:
    """The columns of a panel that hold a number: (column, label, colour)."""
    wanted = [("lr", "", palette.INK)] if suffix == "lr" else [(f"{split}_{suffix}", split, colour) for split, colour in SPLITS]
    return [(column, label, colour) for column, label, colour in wanted if column in history and history[column].notna().any()]


def _panel(axes: Axes, history: pd.DataFrame, suffix: str, unit: str, step: str, chosen: int | None) -> None:
    ends = []
    for column, label, colour in _columns(history, suffix):
        ends += draw_curve(axes, history[step], _drawable(history[column]), label=label, colour=colour, is_joined=step == "epoch")
    axes.set(xlabel=step, ylabel=unit)
    epoch_axis(axes, history[step])
    mark_phases(axes, phase_starts(history))
    mark_backs(axes, backs(history))
    if suffix == "lr":
        axes.set_ylim(bottom=0)
        return
    if suffix == "acc":
        _end_at_100(axes)
    if suffix == "ppl":
        _logarithmic(axes)
    best = _best(history, suffix, step, chosen)
    if best is not None:
        size = 7 if step == "epoch" else 9.5  # around a line, or around a point
        axes.plot(
            *best, marker="o", markersize=size, markerfacecolor="none", markeredgecolor=palette.BLUE, markeredgewidth=1.5, clip_on=False
        )
    style.end_labels(axes, ends)


def _best(history: pd.DataFrame, suffix: str, step: str, chosen: int | None) -> tuple[float, float] | None:
    column = f"valid_{suffix}"
    if suffix not in ("acc", "ppl") or column not in history or not _drawable(history[column]).notna().any():
        return None
    values = _drawable(history[column]).to_numpy(dtype=float)
    row = chosen if chosen is not None else int(np.nanargmax(values) if suffix == "acc" else np.nanargmin(values))
    return float(history[step].iloc[row]), float(values[row])


def _best_note(history: pd.DataFrame, step: str, chosen: int | None) -> str:
    place = "in epoch" if step == "epoch" else f"of {step}"
    for suffix, name, highest, unit in (("ppl", "perplexity", "lowest", ""), ("acc", "accuracy", "highest", " %")):
        best = _best(history, suffix, step, chosen)
        if best is not None:
            return f"{'' if chosen is not None else highest + ' '}validation {name} {best[1]:.2f}{unit} {place} {best[0]:.0f}" + (
                ", which is chosen" if chosen is not None else ""
            )
    return ""


def _logarithmic(axes: Axes) -> None:
    """A scale on which the first epochs and the last ones can be read."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = next((subs for factor, subs in _TICKS if high < factor * low), (1.0,))
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _spelt(value)))


def _spelt(value: float) -> str:
    return f"{value:,g}" if value < _LARGEST_IN_FULL else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


def _end_at_100(axes: Axes) -> None:
    """No room for accuracies that cannot be, but for the width of the line."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(top=min(top, 100 + 0.01 * (100 - bottom)))


def _floor(curves: Sequence[pd.Series]) -> float | None:
    """Where to cut the frame, so that accuracies that crowd at the top can be told apart; None where the whole range will do."""
    low, high = min(float(curve.quantile(0.3)) for curve in curves), max(float(curve.max()) for curve in curves)
    lowest = min(float(curve.min()) for curve in curves)
    return low - 0.5 * (high - low) if low - lowest > 2 * (high - low) > 0 else None
