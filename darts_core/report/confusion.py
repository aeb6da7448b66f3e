"""Which classes are taken for which: a matrix of any size, each row in percent of its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from darts_core.report import palette, style

MOST_WITH_VALUES = 20  # classes; above it the numbers would not fit, and the worst confusions are listed instead
MOST_NAMED = 45  # classes; above it only some get a tick
NAME_LIMIT = 16  # characters
LISTED = 12


def plot_confusion(counts_KK: npt.NDArray[np.integer], class_names: Sequence[str], path: str | Path) -> Path:
    """Draw the share of each true class (row) that is predicted as each class (column); return ``path``.

    A class without images has an empty row. Above 20 classes the most frequent confusions are listed beside the matrix.
    Raise ``ValueError`` where the matrix is not K x K for K names.
    """
    num_classes = len(class_names)
    if counts_KK.shape != (num_classes, num_classes):
        raise ValueError(f"The confusion matrix: shape {(num_classes, num_classes)} expected. Got {counts_KK.shape}.")
    counts = counts_KK.astype(float)
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, support, out=np.full_like(counts, np.nan), where=support > 0)
    names = [style.shorten(str(name), NAME_LIMIT) for name in class_names]
    has_values = num_classes <= MOST_WITH_VALUES
    side = max(0.47 * num_classes, 1.9) if has_values else 6.0
    named = list(range(0, num_classes, -(-num_classes // MOST_NAMED)))
    font = 9.0 if has_values else 7.0
    label = max(style.text_width(names[k], font) for k in named) + 0.1
    with style.look():
        left = 0.55 + label
        width = left + side + (0.35 if has_values else 3.5)
        figure = style.new_figure(max(width, 4.6), 0.95 + side + label * 0.72 + 0.55)
        style.head(figure, "Confusion matrix", note="each row: what the images of one class were taken for, in percent")
        axes = style.place(figure, left=left, top=0.9, width=side, height=side)
        _matrix(axes, share, has_values=has_values)
        _sides(axes, names, named, font=font)
        if not has_values:
            _worst(figure, share, names, left=left + side + 0.35)
        return style.save(figure, path)


def _matrix(axes: Axes, share_KK: npt.NDArray[np.float64], *, has_values: bool) -> None:
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="#fbf1e6")
    axes.imshow(share_KK, cmap=colours, norm=PowerNorm(0.5, vmin=0, vmax=100), interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    if not has_values:
        return
    for (row, column), value in np.ndenumerate(share_KK):
        if value > 0:
            text = f"{value:.1f}" if value < 99.95 else "100"
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=8, color=palette.PAPER if value > 30 else palette.INK)
    for row in np.flatnonzero(np.isnan(share_KK).all(axis=1)).tolist():
        axes.text((len(share_KK) - 1) / 2, row, "no test images", ha="center", va="center_baseline", fontsize=8, color=palette.MUTED)


def _sides(axes: Axes, names: Sequence[str], named: Sequence[int], *, font: float) -> None:
    texts = [names[k] for k in named]
    axes.set_yticks(named, texts, fontsize=font)
    axes.set_xticks(named, texts, fontsize=font, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=2)
    axes.set(xlabel="predicted class", ylabel="true class")


def _worst(figure: Figure, share_KK: npt.NDArray[np.float64], names: Sequence[str], *, left: float) -> None:
    wrong = np.nan_to_num(share_KK)
    np.fill_diagonal(wrong, 0.0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 1.0 / height, "Most frequent confusions", fontsize=9.5, fontweight="bold", va="center")
    line = 0
    for row, column in zip(*np.unravel_index(order, wrong.shape)):
        if wrong[row, column] > 0:
            line += 1
            y = 1 - (1.0 + 0.24 * line) / height
            figure.text((left + 0.5) / width, y, f"{wrong[row, column]:.1f} %", fontsize=8.5, va="center", ha="right")
            figure.text((left + 0.6) / width, y, f"{names[row]} \u2192 {names[column]}", fontsize=8.5, va="center", color=palette.MUTED)
    if not line:
        figure.text(left / width, 1 - 1.24 / height, "none", fontsize=8.5, va="center", color=palette.MUTED)
