"""How a cost grows with a size: the exponent of a power law for each, and a figure on axes where such a law is a straight line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from darts_core.report import palette, style


@dataclass(frozen=True)
class PowerLaw:
    """``factor * x ** exponent``; ``residual`` is the root mean square of what it leaves unexplained, as a fraction of the value."""

    exponent: float
    factor: float
    residual: float


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a line through the logarithms by least squares. Raise ``ValueError`` for fewer than two different x, or what is not positive."""
    if len(x) != len(y) or len(set(x)) < 2 or min(*x, *y) <= 0.0:
        raise ValueError(f"A power law needs two or more different sizes and positive values. Got {list(x)} and {list(y)}.")
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    exponent, offset = np.polyfit(log_x, log_y, 1)
    left = log_y - (exponent * log_x + offset)
    return PowerLaw(float(exponent), float(np.exp(offset)), float(np.expm1(np.sqrt(np.mean(left**2)))))


@dataclass(frozen=True)
class StraightLine:
    """``offset + slope * x``; ``r_squared`` is the share of the values' variance that it explains, 1 where they are all the same."""

    offset: float
    slope: float
    r_squared: float


def straight_line(x: Sequence[float], y: Sequence[float]) -> StraightLine:
    """Fit a line by least squares. Raise ``ValueError`` for fewer than two different x."""
    if len(x) != len(y) or len(set(x)) < 2:
        raise ValueError(f"A straight line needs two or more different sizes. Got {list(x)} and {list(y)}.")
    own_x, own_y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    slope, offset = np.polyfit(own_x, own_y, 1)
    left, spread = own_y - (offset + slope * own_x), own_y - own_y.mean()
    whole = float(np.sum(spread**2))
    return StraightLine(float(offset), float(slope), 1.0 - float(np.sum(left**2)) / whole if whole > 0.0 else 1.0)


def plot_growth(
    frame: pd.DataFrame, path: str | Path, *, panels: Mapping[str, Mapping[str, str]], title: str, note: str = "", base: Mapping[str, float]
) -> Path:
    """Draw each cost against each size that was varied alone, with the power law through it; return ``path``.

    ``frame`` has a row for each size and value: the columns ``axis`` (the size's name), ``value`` and the costs. ``panels`` are the rows of
    the figure: the label of the y axis -> column -> the curve's name. A dotted line through the ``base`` value (axis -> value) is
    proportional growth. A cost of 0 is left out; one value alone has no law. Raise ``ValueError`` where a column is missing.
    """
    wanted = ["axis", "value", *(column for curves in panels.values() for column in curves)]
    if missing := [column for column in wanted if column not in frame]:
        raise ValueError(f"{title}: the columns {', '.join(wanted)} expected. Missing {', '.join(missing)}.")
    sizes = list(dict.fromkeys(str(name) for name in frame["axis"]))
    width, height, across, down = 2.3, 1.95, 0.72, 1.05
    with style.look():
        figure = style.new_figure(0.4 + (width + across) * len(sizes), max(0.6 + (height + down) * len(panels), 3.0))
        style.head(figure, title, note=note)
        for row, (unit, curves) in enumerate(panels.items()):
            limits = _limits(frame, list(curves))
            for column, size in enumerate(sizes):
                left, top = 0.8 + (width + across) * column, 1.15 + (height + down) * row
                axes = style.place(figure, left=left, top=top, width=width, height=height)
                own = frame[frame["axis"] == size].sort_values("value")
                _panel(axes, own, curves, base=base[size], limits=limits)
                axes.set(xlabel=size, ylabel=unit if column == 0 else "")
        return style.save(figure, path)


def _limits(frame: pd.DataFrame, columns: list[str]) -> tuple[float, float]:
    values = frame[columns].to_numpy(dtype=float)
    values = values[values > 0.0]
    return (float(values.min()) / 1.4, float(values.max()) * 1.4) if len(values) else (0.1, 1.0)


def _panel(axes: Axes, frame: pd.DataFrame, curves: Mapping[str, str], *, base: float, limits: tuple[float, float]) -> None:
    values = frame["value"].tolist()
    axes.set(xscale="log", yscale="log", xlim=(values[0] / 1.2, values[-1] * 1.2), ylim=limits)
    labels = []
    for k, ((column, name), colour) in enumerate(zip(curves.items(), (palette.BLUE, palette.ORANGE, palette.GREEN))):
        own = frame[frame[column] > 0.0]
        x, y = own["value"].to_numpy(dtype=float), own[column].to_numpy(dtype=float)
        for at_base in y[x == base]:
            axes.plot(values, at_base * np.asarray(values) / base, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.0, zorder=1)
        axes.plot(x, y, color=colour, linestyle="none", marker="o", markersize=5, zorder=3 - 0.01 * k)
        if len(set(x)) > 1:
            law = power_law(x.tolist(), y.tolist())
            axes.plot(x, law.factor * x**law.exponent, color=colour, linewidth=1.3, zorder=2 - 0.01 * k)
            name = f"{name}, exponent {law.exponent:.2f}"
        labels.append((name, colour))
    for k, (text, colour) in enumerate(labels):
        axes.text(0.0, 1.04 + 0.085 * (len(labels) - 1 - k), text, transform=axes.transAxes, color=colour, fontsize=8.5, va="bottom")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
