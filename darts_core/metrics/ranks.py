"""How alike two orders of the same things are: Kendall's tau-b and Spearman's rho, with bootstrap intervals.

Both are 1 for the same order, -1 for the reverse, about 0 for unrelated ones. Ties count in neither order (tau-b), or share a mean rank
(rho).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Both coefficients and the ends of their intervals, from -1 to 1; NaN where all values of a side are equal."""

    tau: float
    tau_low: float
    tau_high: float
    rho: float
    rho_low: float
    rho_high: float


def rank_correlation(
    x: Sequence[float], y: Sequence[float], *, generator: np.random.Generator, num_samples: int = 2000, level: float = 0.95
) -> RankCorrelation:
    """Compare the orders of ``x`` and ``y``, values of the same n things, 3 at least.

    Kendall, Biometrika 1945 (tau-b), and Spearman, 1904. The intervals are percentile bootstrap ones: n things are drawn with replacement
    ``num_samples`` times. A thing that is drawn twice ties with itself on both sides, which neither coefficient counts as disorder.
    Raise ``ValueError`` for fewer than 3 things, unequal numbers, or values that are not finite.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 3 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"Two orders of the same 3 or more things expected, finite numbers. Got shapes {a.shape} and {b.shape}.")
    if num_samples < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"num_samples must be at least 1 and level lie in (0, 1). Got {num_samples} and {level}.")
    n = len(a)
    drawn = generator.multinomial(n, np.full(n, 1.0 / n), size=num_samples).astype(np.float64)
    count_BN = np.concatenate([np.ones((1, n)), drawn])  # the first row is the sample itself
    above_NN, other_NN = (np.sign(values[:, None] - values[None, :]) for values in (a, b))
    tau_B, rho_B = _tau(count_BN, above_NN, other_NN), _rho(count_BN, above_NN, other_NN)
    (tau_low, tau_high), (rho_low, rho_high) = (_interval(each[1:], level) for each in (tau_B, rho_B))
    return RankCorrelation(tau=float(tau_B[0]), tau_low=tau_low, tau_high=tau_high, rho=float(rho_B[0]), rho_low=rho_low, rho_high=rho_high)


def _tau(count_BN: Floats, x_NN: Floats, y_NN: Floats) -> Floats:
    """Tau-b of each row of counts: concordant less discordant pairs over the geometric mean of the pairs that each side can tell apart."""

    def pairs(sign_NN: Floats) -> Floats:
        return np.asarray(((count_BN @ sign_NN) * count_BN).sum(axis=1))

    return _ratio(pairs(x_NN * y_NN), pairs(np.abs(x_NN)) * pairs(np.abs(y_NN)))


def _rho(count_BN: Floats, x_NN: Floats, y_NN: Floats) -> Floats:
    """Pearson's correlation of the mean ranks, which are, but for a constant, half the signs of a thing against all others."""
    rank_x_BN, rank_y_BN = count_BN @ x_NN.T / 2.0, count_BN @ y_NN.T / 2.0  # their means are 0

    def product(a_BN: Floats, b_BN: Floats) -> Floats:
        return np.asarray((count_BN * a_BN * b_BN).sum(axis=1))

    return _ratio(product(rank_x_BN, rank_y_BN), product(rank_x_BN, rank_x_BN) * product(rank_y_BN, rank_y_BN))


def _ratio(above: Floats, squared: Floats) -> Floats:
    return np.asarray(np.divide(above, np.sqrt(squared), out=np.full_like(above, np.nan), where=squared > 0.0))


def _interval(values_B: Floats, level: float) -> tuple[float, float]:
    told = values_B[np.isfinite(values_B)]
    if not len(told):
        return float("nan"), float("nan")
    low, high = np.quantile(told, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
