"""Does a network know how often it is right? Reliability table and expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence lies in (low, high]; all rates in percent, the means NaN where ``count`` is 0."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability_table(confidence_N: npt.NDArray[np.floating], hit_N: npt.NDArray[np.bool_], *, num_bins: int) -> tuple[ReliabilityBin, ...]:
    """Group images by confidence, the probability (0 to 1) of the predicted class, into bins of equal width.

    ``hit_N`` says which predictions are right. A bin includes its upper edge, the first one also 0.
    """
    if confidence_N.ndim != 1 or confidence_N.shape != hit_N.shape:
        raise ValueError(f"Expected one confidence and one hit an image. Got the shapes {confidence_N.shape} and {hit_N.shape}.")
    if not ((confidence_N >= 0.0) & (confidence_N <= 1.0)).all():
        raise ValueError("A confidence is a probability, 0 to 1. Got one outside, or NaN.")
    if num_bins < 1:
        raise ValueError(f"evaluate.calibration_bins must be at least 1. Got {num_bins}.")
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bin_N = np.searchsorted(edges[1:-1], confidence_N, side="left")
    counts = np.bincount(bin_N, minlength=num_bins).tolist()
    confidence_sums = np.bincount(bin_N, weights=confidence_N, minlength=num_bins).tolist()
    hits = np.bincount(bin_N, weights=hit_N, minlength=num_bins).tolist()
    return tuple(
        ReliabilityBin(
            low=100.0 * float(edges[m]),
            high=100.0 * float(edges[m + 1]),
            count=counts[m],
            confidence=100.0 * confidence_sums[m] / counts[m] if counts[m] else math.nan,
            accuracy=100.0 * hits[m] / counts[m] if counts[m] else math.nan,
        )
        for m in range(num_bins)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance between confidence and accuracy of a bin, weighted by its images, in percentage points.

    Guo et al., ICML 2017 (arXiv:1706.04599), equation 3. Raise ``ValueError`` where no bin holds an image.
    """
    total = sum(b.count for b in bins)
    if not total:
        raise ValueError("The calibration error of no images is not defined: expected at least one image. Got none.")
    return sum(b.count * abs(b.accuracy - b.confidence) for b in bins if b.count) / total
