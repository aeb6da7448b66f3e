"""Perplexity of a text, and how far to trust it: intervals by resampling windows of the text."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darts_core.metrics.intervals import Interval

Sums = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
NUMBERS_AT_ONCE = 1 << 22  # of draws: 64 MB, with their copy as floats


def perplexity(nll: float) -> float:
    """Return exp(``nll``), ``nll`` in nats a token; infinite where no float holds it."""
    return math.exp(nll) if nll < 700.0 else math.inf


def bootstrap_perplexity(
    nll_W: Sums, count_W: Counts, *, generator: np.random.Generator, num_samples: int = 2000, level: float = 0.95
) -> Interval:
    """Return the percentile bootstrap interval of a perplexity.

    ``nll_W`` are the summed nats of the windows of a text, ``count_W`` their numbers of tokens. Windows are drawn and not tokens, since
    the errors at neighbouring tokens depend on one another. Raise ``ValueError`` where there is no window.
    """
    _check(nll_W, count_W)
    return _interval(_resampled(nll_W, count_W, generator, num_samples), level)


def bootstrap_perplexity_ratio(
    nll_W: Sums, other_nll_W: Sums, count_W: Counts, *, generator: np.random.Generator, num_samples: int = 2000, level: float = 0.95
) -> Interval:
    """Return the paired interval of the first model's perplexity by the other one's, of the same windows.

    They are resampled together, so what is hard for both adds no noise. Where 1 lies outside, the choice of test text does not explain
    the difference.
    """
    _check(nll_W, count_W)
    _check(other_nll_W, count_W)
    return _interval(_resampled(nll_W - other_nll_W, count_W, generator, num_samples), level)


def _resampled(nll_W: Sums, count_W: Counts, generator: np.random.Generator, num_samples: int) -> Sums:
    """Return exp(sum of nats by sum of tokens) of each sample of as many windows; a few samples at a time, as memory holds them."""
    windows = len(nll_W)
    at_once = max(1, NUMBERS_AT_ONCE // windows)
    found = []
    for first in range(0, num_samples, at_once):
        size = min(at_once, num_samples - first)
        times_SW = generator.multinomial(windows, np.full(windows, 1.0 / windows), size=size).astype(np.float64)
        found.append(np.exp((times_SW @ nll_W) / (times_SW @ count_W)))
    return np.concatenate(found)


def _interval(samples: Sums, level: float) -> Interval:
    low, high = np.quantile(samples, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high))


def _check(nll_W: Sums, count_W: Counts) -> None:
    if nll_W.ndim != 1 or nll_W.shape != count_W.shape or not nll_W.size or not (count_W > 0).all():
        raise ValueError(f"Expected a sum and a count above 0 for each window, at least one. Got {nll_W.shape} and {count_W.shape}.")
