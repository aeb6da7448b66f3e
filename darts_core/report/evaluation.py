"""What the test set said, as pictures: accuracy with its interval, the confusions, and whether confidence can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from darts_core.engine.evaluation import Evaluation, NetworkScores
from darts_core.metrics import ReliabilityBin
from darts_core.report import palette, style
from darts_core.report.confusion import plot_confusion


def draw_evaluation(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write comparison.png, confusion.png and reliability.png into ``folder`` and return their paths."""
    folder = Path(folder)
    own = evaluation.scores[0]
    return [
        plot_comparison(evaluation.scores, folder / "comparison.png"),
        plot_confusion(evaluation.confusion, evaluation.class_names, folder / "confusion.png"),
        plot_reliability(evaluation.reliability, folder / "reliability.png", ece=own.ece),
    ]


def plot_comparison(scores: Sequence[NetworkScores], path: str | Path) -> Path:
    """Draw each network's test accuracy with its 95 % Wilson interval, the first one in colour; return ``path``."""
    names = [style.shorten(row.name, 24) for row in scores]
    left = 0.2 + max(style.text_width(name, 9.5) for name in names) + 0.2
    height = 0.4 * len(scores)
    colours = palette.network_colours([row.name for row in scores])
    with style.look():
        figure = style.new_figure(left + 3.6 + 2.85, 1.05 + height + 0.6)
        style.head(figure, "Test accuracy", note="top-1, with the 95 % Wilson interval over the test images")
        axes = style.place(figure, left=left, top=1.0, width=3.6, height=height)
        low, high = _accuracy_limits(scores)
        for k, row in enumerate(scores):
            colour = colours[row.name]
            axes.plot([row.low, row.high], [k, k], color=colour, linewidth=4.5, alpha=0.35, solid_capstyle="butt")
            axes.plot(row.top1, k, marker="o", markersize=7.5, color=colour, clip_on=False)
            across, weight = axes.get_yaxis_transform(), "bold" if k == 0 else "normal"
            axes.text(1.06, k, f"{row.top1:.2f} %", fontweight=weight, transform=across, va="center_baseline")
            axes.text(1.29, k, f"{row.params_m:.3g} M parameters", color=palette.MUTED, transform=across, va="center_baseline")
        axes.axvline(scores[0].top1, color=palette.BLUE, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        axes.set(xlim=(low, high), ylim=(len(scores) - 0.5, -0.5), xlabel="test accuracy (%)")
        axes.set_yticks(range(len(scores)), names)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelsize=9.5)
        return style.save(figure, path)


def plot_reliability(bins: Sequence[ReliabilityBin], path: str | Path, *, ece: float) -> Path:
    """Draw accuracy against confidence, and how many images stand behind each point; ``ece`` in percentage points. Return ``path``."""
    shown = [b for b in bins if b.count]
    with style.look():
        figure = style.new_figure(4.6, 5.6)
        style.head(figure, "Reliability", note=f"expected calibration error {ece:.2f} percentage points")
        axes = style.place(figure, left=0.8, top=0.85, width=3.5, height=3.2)
        axes.plot([0, 100], [0, 100], color=palette.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(4, 96, "above the line: too modest", fontsize=8.5, color=palette.MUTED, va="top")
        axes.text(96, 4, "below: too sure", fontsize=8.5, color=palette.MUTED, ha="right")
        for b in shown:
            axes.plot([b.confidence] * 2, [b.confidence, b.accuracy], color=palette.ORANGE, linewidth=1.6, alpha=0.6)
        x, y = [b.confidence for b in shown], [b.accuracy for b in shown]
        axes.plot(x, y, color=palette.BLUE, marker="o", markersize=5, linewidth=1.3, clip_on=False)
        axes.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy (%)")
        axes.tick_params(labelbottom=False)
        _counts(style.place(figure, left=0.8, top=4.2, width=3.5, height=0.75), bins)
        return style.save(figure, path)


def _counts(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    total = max(sum(b.count for b in bins), 1)
    middles, widths = [(b.low + b.high) / 2 for b in bins], [0.88 * (b.high - b.low) for b in bins]
    axes.bar(middles, [100 * b.count / total for b in bins], width=widths, color=palette.BLUE)
    axes.set(xlim=(0, 100), xlabel="confidence (%)", ylabel="images (%)")


def _accuracy_limits(scores: Sequence[NetworkScores]) -> tuple[float, float]:
    low, high = min(row.low for row in scores), max(row.high for row in scores)
    margin = max(0.12 * (high - low), 0.25)
    return max(low - margin, 0.0), min(high + margin, 100.0)
