"""A number of each network, as a mark on its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darts_core.report import palette, style


@dataclass(frozen=True)
class Mark:
    """A network's ``value`` from ``low`` to ``high``; ``text`` says it beside, ``remark`` says something more."""

    name: str
    value: float
    low: float
    high: float
    text: str
    remark: str


def plot_marks(rows: Sequence[Mark], path: str | Path, *, title: str, note: str, label: str, limits: tuple[float, float]) -> Path:
    """Draw a mark on its interval for each network, the first one in colour; ``limits`` are those of the axis. Return ``path``."""
    names = [style.shorten(row.name, 24) for row in rows]
    left = 0.2 + max(style.text_width(name, 9.5) for name in names) + 0.2
    height = 0.4 * len(rows)
    colours = palette.network_colours([row.name for row in rows])
    with style.look():
        figure = style.new_figure(left + 3.6 + 2.85, 1.05 + height + 0.6)
        style.head(figure, title, note=note)
        axes = style.place(figure, left=left, top=1.0, width=3.6, height=height)
        for k, row in enumerate(rows):
            colour = colours[row.name]
            axes.plot([row.low, row.high], [k, k], color=colour, linewidth=4.5, alpha=0.35, solid_capstyle="butt")
            axes.plot(row.value, k, marker="o", markersize=7.5, color=colour, clip_on=False)
            across, weight = axes.get_yaxis_transform(), "bold" if k == 0 else "normal"
            axes.text(1.06, k, row.text, fontweight=weight, transform=across, va="center_baseline")
            axes.text(1.29, k, row.remark, color=palette.MUTED, transform=across, va="center_baseline")
        axes.axvline(rows[0].value, color=palette.BLUE, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        axes.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5), xlabel=label)
        axes.set_yticks(range(len(rows)), names)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelsize=9.5)
        return style.save(figure, path)
