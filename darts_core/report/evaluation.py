"""What the test set said, as pictures: accuracy with its interval, the confusions, and whether confidence can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from darts_core.engine.evaluation import Evaluation, NetworkScores
from darts_core.metrics import ReliabilityBin
from darts_core.report import palette, style
from darts_core.report.confusion import plot_confusion
from darts_core.report.marks import Mark, plot_marks


def draw_evaluation(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write comparison.png, confusion.png and reliability.png into ``folder``, which is made, and return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = evaluation.scores[0]
    return [
        plot_comparison(evaluation.scores, folder / "comparison.png"),
        plot_confusion(evaluation.confusion, evaluation.class_names, folder / "confusion.png"),
        plot_reliability(evaluation.reliability, folder / "reliability.png", ece=own.ece),
    ]


def plot_comparison(scores: Sequence[NetworkScores], path: str | Path) -> Path:
    """Draw each network's test accuracy with its 95 % Wilson interval, the first one in colour; return ``path``."""
    rows = [Mark(row.name, row.top1, row.low, row.high, f"{row.top1:.2f} %", f"{row.params_m:.3g} M parameters") for row in scores]
    return plot_marks(
        rows,
        path,
        title="Test accuracy",
        note="top-1, with the 95 % Wilson interval over the test images",
        label="test accuracy (%)",
        limits=_accuracy_limits(scores),
    )


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
