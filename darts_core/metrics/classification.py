"""Right or wrong: top-k accuracy, the confusion matrix, and the scores of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class in percent, and its number of images; NaN where a rate divides nothing by nothing."""

    precision: float
    recall: float
    f1: float
    support: int


def label_rank(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """Return how many classes come before the label, 0 to K (int64, shape B); top-k accuracy is the share below k.

    Among equal scores the lower class index comes first, so that a network that cannot tell classes apart gets no gift.
    NaN comes before every number, and a label whose own score is NaN has rank K: neither is ever a hit.
    """
    if scores_BK.ndim != 2 or label_B.shape != scores_BK.shape[:1]:
        raise ValueError(f"Expected scores (B, K) and labels (B,). Got {tuple(scores_BK.shape)} and {tuple(label_B.shape)}.")
    label_B = label_B.to(scores_BK.device)
    own_B1 = scores_BK.gather(1, label_B[:, None])
    class_K = torch.arange(scores_BK.shape[1], device=scores_BK.device)
    # Written as "not lower or equal" instead of "higher", because a comparison with NaN is always false.
    before_BK = ~(scores_BK <= own_B1) | ((scores_BK == own_B1) & (class_K < label_B[:, None]))
    return before_BK.sum(1)


def top_k_accuracy(scores_BK: Tensor, label_B: Tensor, *, k: int = 1) -> Tensor:
    """Return the share of labels among the ``k`` highest scores in percent: a float64 scalar on the scores' device.

    Ties and NaN as in :func:`label_rank`. Raise ``ValueError`` where k is not in 1..K or there is no image.
    """
    if scores_BK.ndim == 2 and not 1 <= k <= scores_BK.shape[1]:
        raise ValueError(f"k must lie in 1..{scores_BK.shape[1]}, the number of classes. Got {k}.")
    if not label_B.numel():
        raise ValueError("The accuracy on no images is not defined: expected at least one label. Got none.")
    return 100.0 * (label_rank(scores_BK, label_B) < k).double().mean()


def confusion_matrix(label_N: Integers, prediction_N: Integers, *, num_classes: int) -> npt.NDArray[np.int64]:
    """Return the counts (K, K): a row for each true class, a column for each predicted one."""
    if label_N.shape != prediction_N.shape or label_N.ndim != 1:
        raise ValueError(f"Expected as many predictions as labels, in one dimension. Got {prediction_N.shape} and {label_N.shape}.")
    for what, index_N in (("labels", label_N), ("predictions", prediction_N)):
        if index_N.size and not (index_N.min() >= 0 and index_N.max() < num_classes):
            raise ValueError(f"{what} must lie in 0..{num_classes - 1}. Got {index_N.min()} to {index_N.max()}.")
    flat_N = label_N.astype(np.int64) * num_classes + prediction_N
    return np.bincount(flat_N, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def class_scores(confusion_KK: npt.NDArray[np.int64]) -> tuple[ClassScores, ...]:
    """Return the scores of each class, from the counts of :func:`confusion_matrix`.

    Recall is NaN for a class without images, precision for one that was never predicted, F1 where both hold.
    """
    hits_K, support_K, predicted_K = confusion_KK.diagonal(), confusion_KK.sum(1), confusion_KK.sum(0)
    return tuple(
        ClassScores(
            precision=_percent(hits, predicted),
            recall=_percent(hits, support),
            f1=_percent(2 * hits, predicted + support),
            support=support,
        )
        for hits, support, predicted in zip(hits_K.tolist(), support_K.tolist(), predicted_K.tolist(), strict=True)
    )


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else float("nan")
