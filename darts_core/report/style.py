"""The look of every figure: fonts, sizes, axes, and files that are the same, byte for byte, for the same content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from darts_core.report.palette import FAINT, INK, MUTED, PAPER
from darts_core.report.spacing import spread

DPI = 160
BOLD = 1.15  # how much wider than regular letters, at most
FONT = "DejaVu Sans"  # comes with matplotlib: the same metrics everywhere
OTHER_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
)
_RC = {
    "font.sans-serif": [FONT, "Verdana", "Arial"],  # the others: for who looks at an SVG without the first
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "darts_core",
}


@dataclass(frozen=True)
class EndLabel:
    """A name beside the end of a curve: the curve's last point, and what to write in which colour."""

    x: float
    y: float
    text: str
    colour: str


@contextmanager
def look() -> Iterator[None]:
    """Draw and save within this context: matplotlib's defaults and this house's, whatever a user's matplotlibrc says."""
    with matplotlib.style.context(["default", _RC, {"font.family": ["sans-serif", *_families()[1:]]}]):
        yield


@cache
def _families() -> list[str]:
    """The font, and what this machine has for names in scripts that the font lacks."""
    installed = set(fontManager.get_font_names())
    return [FONT, *(name for name in OTHER_SCRIPTS if name in installed)]


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of ``width`` x ``height`` inches that belongs to no GUI and no global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, *, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes whose plotting area lies ``left`` and ``top`` inches from the upper left corner."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes((left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height))


def head(figure: Figure, title: str, *, note: str = "", left: float = 0.2) -> None:
    """Write what is seen, and a quieter line about how, into the upper left corner (0.7 inches high), cut to the figure's width."""
    width, height = figure.get_size_inches()
    room = width - 1.5 * left
    title, note = fit(title, room / BOLD, size=12.5), fit(note, room, size=9)
    figure.text(left / width, 1 - 0.28 / height, title, fontsize=12.5, fontweight="bold", va="center")
    if note:
        figure.text(left / width, 1 - 0.53 / height, note, fontsize=9, color=MUTED, va="center")


def save(figure: Figure, path: str | Path) -> Path:
    """Write ``figure`` as the suffix of ``path`` says (.png or .svg), without a date or a version, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, str | None] = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=DPI, metadata=metadata)
    return path


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return the width of ``text`` at ``size`` points, in inches."""
    scale = 16  # large enough for hinting to change nothing
    font = get_font([findfont(FontProperties(family=name)) for name in _families()])
    font.set_size(size, 72 * scale)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / (72 * scale)


def shorten(text: str, limit: int) -> str:
    """Return ``text``, cut with an ellipsis where it has more than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "\u2026"


def fit(text: str, width: float, *, size: float) -> str:
    """Return ``text``, cut with an ellipsis where it is wider than ``width`` inches at ``size`` points."""
    limit = len(text)
    while limit > 1 and text_width(shorten(text, limit), size) > width:
        limit -= 1
    return shorten(text, limit)


def end_labels(axes: Axes, labels: Sequence[EndLabel], *, size: float = 8.5) -> None:
    """Write the names of curves to the right of the axes, moved apart where they would touch; call it once the limits stand."""
    if not labels:
        return
    ordered = sorted(labels, key=lambda label: -label.y)
    figure = axes.figure
    to_pixels, to_axes = axes.transData.transform, axes.transAxes.inverted().transform
    line = size * 1.35 * figure.dpi / 72
    pixels = [float(to_pixels((label.x, label.y))[1]) for label in ordered]
    placed = _within([-p for p in spread([-p for p in pixels], [line] * (len(ordered) - 1))], axes.bbox.y0, axes.bbox.y1, line)
    gap = 15 / 72 * figure.dpi / axes.bbox.width
    for label, before, after in zip(ordered, pixels, placed):
        start = to_axes((to_pixels((label.x, label.y))[0], before))
        y = float(to_axes((0, after))[1])
        axes.plot(
            [start[0] + 0.3 * gap, 1 + 0.75 * gap],
            [start[1], y],
            transform=axes.transAxes,
            color=label.colour,
            linewidth=0.6,
            clip_on=False,
            alpha=0.7,
        )
        axes.text(1 + gap, y, label.text, transform=axes.transAxes, color=label.colour, fontsize=size, va="center_baseline")


def _within(descending: list[float], low: float, high: float, gap: float) -> list[float]:
    """Push positions back between ``low`` and ``high``, ``gap`` apart; where there are too many they reach below ``low``."""
    last = len(descending) - 1
    raised = [max(y, low + gap * (last - k)) for k, y in enumerate(descending)]
    return [min(y, high - gap * k) for k, y in enumerate(raised)]
