"""Orders compared: against scipy, against resampling by hand, and where nothing can be told."""

import math

import numpy as np
import pytest
import scipy.stats

from darts_core.metrics.paired import mean_interval, t_quantile
from darts_core.metrics.ranks import rank_correlation


@pytest.mark.parametrize(("n", "ties"), [(3, False), (7, True), (40, True), (40, False)])
def test_coefficients_are_those_of_scipy(n, ties):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    if ties:
        x, y = np.round(x), np.round(y)
    found = rank_correlation(x.tolist(), y.tolist(), generator=rng, num_samples=50)
    assert found.tau == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
    assert found.rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert -1.0 <= found.tau_low <= found.tau_high <= 1.0
    assert found.rho_low <= found.rho_high


def test_intervals_are_percentiles_of_what_scipy_says_of_each_resample():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 6, 12).astype(float)
    y = x + rng.normal(size=12)
    found = rank_correlation(x.tolist(), y.tolist(), generator=np.random.default_rng(5), num_samples=60, level=0.9)
    counts = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=60)
    taus, rhos = [], []
    for count in counts:
        drawn = np.repeat(np.arange(12), count)
        taus.append(scipy.stats.kendalltau(x[drawn], y[drawn]).statistic)
        rhos.append(scipy.stats.spearmanr(x[drawn], y[drawn]).statistic)
    assert (found.tau_low, found.tau_high) == pytest.approx(np.quantile(taus, [0.05, 0.95]))
    assert (found.rho_low, found.rho_high) == pytest.approx(np.quantile(rhos, [0.05, 0.95]))


def test_the_same_and_the_reverse_order():
    values = [1.0, 4.0, 2.0, 9.0, 5.0]
    same = rank_correlation(values, [10 * v for v in values], generator=np.random.default_rng(0))
    reverse = rank_correlation(values, [-v for v in values], generator=np.random.default_rng(0))
    assert (same.tau, same.rho, same.tau_low, same.rho_high) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert (reverse.tau, reverse.rho, reverse.tau_high) == pytest.approx((-1.0, -1.0, -1.0))


def test_equal_values_have_no_order():
    found = rank_correlation([10.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], generator=np.random.default_rng(0))
    assert all(math.isnan(value) for value in vars(found).values())


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0]), ([1.0, 2.0, math.nan], [1.0, 2.0, 3.0])])
def test_what_cannot_be_compared_is_refused(x, y):
    with pytest.raises(ValueError, match="Two orders of the same 3 or more things expected"):
        rank_correlation(x, y, generator=np.random.default_rng(0))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_students_quantile_is_that_of_scipy(degrees, level):
    assert t_quantile(level, degrees) == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_the_interval_of_a_mean():
    values = [1.0, 2.0, 4.0]
    found = mean_interval(values)
    assert found == pytest.approx(scipy.stats.t.interval(0.95, 2, loc=7 / 3, scale=scipy.stats.sem(values)))
    assert mean_interval([1.0]) is None
    with pytest.raises(ValueError, match="level must lie in"):
        t_quantile(1.0, 2)
