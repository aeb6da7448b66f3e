"""What is said about latency samples: never only a mean, and an interval that knows that neighbours in time are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

P99_SAMPLES = 1000
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Latency in ms over ``n`` samples.

    ``median_low_ms`` to ``median_high_ms`` is a 95 % bootstrap interval of the median that resamples whole blocks, because samples of one
    block share the machine's mood. ``p99_ms`` is a figure to rely on from 1000 samples on (``is_p99_reliable``), below it an indication.
    ``drift`` is the median of the last third over that of the first; ``outliers`` counts samples above Q3 + 3 IQR.
    """

    n: int
    median_ms: float
    median_low_ms: float
    median_high_ms: float
    mean_ms: float
    min_ms: float
    iqr_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    is_p99_reliable: bool
    drift: float
    outliers: int


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times the reference's latency: the median over rounds, and its 95 % bootstrap interval."""

    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def noise(self) -> float:
        """How far the interval reaches from 1; of a network against itself: the noise floor."""
        return max(abs(self.ratio_low - 1.0), abs(self.ratio_high - 1.0))


def summarise(blocks: Sequence[Sequence[float]]) -> Summary:
    """Summarise samples in ms, given as the blocks in which they were taken, in order of time."""
    samples = np.concatenate([np.asarray(block, dtype=float) for block in blocks])
    q1, median, q3, p90, p95, p99 = np.percentile(samples, [25, 50, 75, 90, 95, 99])
    rng = np.random.default_rng(0)
    draws = rng.integers(len(blocks), size=(_RESAMPLES, len(blocks)))
    low, high = np.percentile([np.median(np.concatenate([blocks[b] for b in draw])) for draw in draws], [2.5, 97.5])
    third = max(1, len(samples) // 3)
    return Summary(
        n=len(samples),
        median_ms=float(median),
        median_low_ms=float(low),
        median_high_ms=float(high),
        mean_ms=float(samples.mean()),
        min_ms=float(samples.min()),
        iqr_ms=float(q3 - q1),
        p90_ms=float(p90),
        p95_ms=float(p95),
        p99_ms=float(p99),
        is_p99_reliable=len(samples) >= P99_SAMPLES,
        drift=float(np.median(samples[-third:]) / np.median(samples[:third])),
        outliers=int((samples > q3 + 3.0 * (q3 - q1)).sum()),
    )


def compare(blocks: Sequence[Sequence[float]], *, reference: Sequence[Sequence[float]]) -> Ratio:
    """Compare two networks that took turns: ``blocks[r]`` and ``reference[r]`` come from the same round, so its mood cancels."""
    ratios = np.array([np.median(mine) / np.median(other) for mine, other in zip(blocks, reference, strict=True)])
    draws = np.random.default_rng(0).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), [2.5, 97.5])
    return Ratio(ratio=float(np.median(ratios)), ratio_low=float(low), ratio_high=float(high))
