"""How far a mean over few seeds can be trusted: Student's interval of a mean of differences between two methods with the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from darts_core.metrics.intervals import Interval


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Return the interval of the mean of ``values`` by Student's t with n - 1 degrees of freedom, or None for fewer than two values.

    Of differences between two methods, seed by seed, it is the paired interval (Student, Biometrika 1908). It takes the seeds for a
    sample from a normal distribution; with three of them it is 4.3 standard errors wide to either side, which is honest and no fault.
    """
    if len(values) < 2:
        return None
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = t_quantile(level, len(values) - 1) * error
    return Interval(mean - reach, mean + reach)


def t_quantile(level: float, degrees: int) -> float:
    """Return the t for which Student's variable with so many degrees of freedom lies in [-t, t] with probability ``level``.

    For whole degrees the distribution is a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4), here inverted by bisection. Raise
    ``ValueError`` for a ``level`` outside (0, 1) or fewer than one degree.
    """
    if not 0.0 < level < 1.0 or degrees < 1:
        raise ValueError(f"level must lie in (0, 1) and degrees be at least 1. Got {level} and {degrees}.")
    low, high = 0.0, math.pi / 2.0  # of the angle atan(t / sqrt(degrees))
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _within(middle, degrees) < level else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """Return the probability of [-t, t], where t = sqrt(degrees) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for k in range(2 if is_odd else 1, degrees, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2.0 / math.pi * (angle + sine * total) if is_odd else sine * total
