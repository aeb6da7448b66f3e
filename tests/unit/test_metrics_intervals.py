"""Intervals of accuracies and differences, McNemar's test: against scipy, resampling, and how often they are right."""

import numpy as np
import pytest
from scipy import stats

from darts_core import metrics


def resampled(values, *, num_samples, seed):
    """The bootstrap as it is defined: draw images with replacement, take the mean, and the percentiles of the means."""
    rng = np.random.default_rng(seed)
    means = [100.0 * values[rng.integers(0, len(values), len(values))].mean() for _ in range(num_samples)]
    return np.quantile(means, [0.025, 0.975])


def covered(interval_of, *, num_images, accuracy):
    """The probability (percent) that the interval holds the true accuracy, summed over all that a test set can show."""
    hits = range(num_images + 1)
    holds = [low <= accuracy <= high for low, high in (interval_of(np.arange(num_images) < k) for k in hits)]
    return 100.0 * stats.binom.pmf(hits, num_images, accuracy / 100.0)[holds].sum()


class TestWilson:
    def test_known_values(self):
        assert metrics.wilson_accuracy(np.arange(359) < 355) == pytest.approx((97.1706, 99.5659), abs=1e-4)
        assert metrics.wilson_accuracy(np.ones(359, dtype=bool)) == (pytest.approx(98.9413, abs=1e-4), 100.0)
        assert metrics.wilson_accuracy(np.zeros(359, dtype=bool)) == (0.0, pytest.approx(1.0587, abs=1e-4))

    @pytest.mark.parametrize(("num_hits", "num_images"), [(0, 1), (1, 1), (3, 10), (355, 359), (9999, 10_000)])
    @pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
    def test_equals_scipy(self, num_hits, num_images, level):
        expected = stats.binomtest(num_hits, num_images).proportion_ci(level, method="wilson")
        interval = metrics.wilson_accuracy(np.arange(num_images) < num_hits, level=level)
        assert interval == pytest.approx((100.0 * expected.low, 100.0 * expected.high), abs=1e-9)

    @pytest.mark.parametrize("accuracy", [99.5, 99.0, 98.0, 90.0, 50.0])
    def test_holds_the_true_accuracy_as_often_as_it_says(self, accuracy):
        assert covered(metrics.wilson_accuracy, num_images=359, accuracy=accuracy) == pytest.approx(95.0, abs=2.5)

    def test_the_bootstrap_does_not(self):
        def bootstrap(hit):
            return metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(0))

        assert covered(bootstrap, num_images=359, accuracy=99.0) < 90.0

    def test_refuses(self):
        with pytest.raises(ValueError, match="at least one image"):
            metrics.wilson_accuracy(np.zeros(0, dtype=bool))
        with pytest.raises(ValueError, match="level"):
            metrics.wilson_accuracy(np.array([True]), level=1.0)


class TestMcNemar:
    @staticmethod
    def pair(wins, losses, *, both=3):
        hit = np.array([True] * wins + [False] * losses + [True] * both)
        return hit, np.array([False] * wins + [True] * losses + [True] * both)

    @pytest.mark.parametrize(
        ("wins", "losses", "p"), [(5, 0, 0.0625), (0, 5, 0.0625), (6, 0, 0.03125), (0, 0, 1.0), (1, 1, 1.0), (8, 2, 0.109375)]
    )
    def test_known_values(self, wins, losses, p):
        assert metrics.mcnemar_p(*self.pair(wins, losses)) == p

    @pytest.mark.parametrize(("wins", "losses"), [(3, 11), (40, 41), (700, 820), (3000, 3001), (6000, 100)])
    def test_equals_the_binomial_test_of_scipy(self, wins, losses):
        assert metrics.mcnemar_p(*self.pair(wins, losses)) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, rel=1e-9)

    def test_equal_networks_seldom_differ(self):
        """The exact test errs on the safe side: at most 5 % of 2,000 pairs of equally good networks have a p below 0.05."""
        rng = np.random.default_rng(0)
        below = [metrics.mcnemar_p(rng.random(359) < 0.97, rng.random(359) < 0.97) < 0.05 for _ in range(2000)]
        assert 0.01 < np.mean(below) < 0.05

    def test_refuses(self):
        hit = np.array([True, False])
        with pytest.raises(ValueError, match="same images"):
            metrics.mcnemar_p(hit, hit[:1])
        with pytest.raises(ValueError, match="bool"):
            metrics.mcnemar_p(np.array([0.5, 1.0]), hit)


class TestBootstrap:
    def test_accuracy_has_the_quantiles_of_the_binomial(self):
        hit = np.arange(400) < 380
        interval = metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(0), num_samples=200_000)
        expected = stats.binom.ppf([0.025, 0.975], 400, 0.95) / 4.0
        assert interval == pytest.approx(expected, abs=0.25)

    def test_accuracy_equals_resampling_of_images(self):
        hit = np.random.default_rng(1).random(150) < 0.8
        interval = metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(0), num_samples=20_000)
        assert interval == pytest.approx(resampled(hit, num_samples=20_000, seed=2), abs=100 / 150)

    def test_difference_equals_resampling_of_pairs(self):
        rng = np.random.default_rng(3)
        hit = rng.random(200) < 0.9
        other = np.where(rng.random(200) < 0.8, hit, rng.random(200) < 0.5)
        interval = metrics.bootstrap_difference(hit, other, generator=np.random.default_rng(0), num_samples=20_000)
        expected = resampled(hit.astype(float) - other, num_samples=20_000, seed=4)
        assert interval == pytest.approx(expected, abs=0.5)
        assert interval.low < 100.0 * (hit.mean() - other.mean()) < interval.high

    def test_pairing_removes_what_both_share(self):
        hit = np.arange(300) < 200
        same = metrics.bootstrap_difference(hit, hit, generator=np.random.default_rng(0))
        assert same == (0.0, 0.0)
        other = hit.copy()
        other[:3] = False
        paired = metrics.bootstrap_difference(hit, other, generator=np.random.default_rng(0))
        single = metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(0))
        assert paired.high - paired.low < 0.4 * (single.high - single.low)

    def test_same_seed_same_interval_and_a_higher_level_is_wider(self):
        hit = np.arange(100) < 70
        draw = [metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(5)) for _ in range(2)]
        assert draw[0] == draw[1]
        wide = metrics.bootstrap_accuracy(hit, generator=np.random.default_rng(5), level=0.99)
        assert wide.low < draw[0].low < 70.0 < draw[0].high < wide.high

    def test_one_image_and_all_hits_have_no_width(self):
        assert metrics.bootstrap_accuracy(np.array([True]), generator=np.random.default_rng(0)) == (100.0, 100.0)
        assert metrics.bootstrap_accuracy(np.zeros(9, dtype=bool), generator=np.random.default_rng(0)) == (0.0, 0.0)

    def test_wins_and_losses_that_are_all_images(self):
        hit = np.arange(10) < 3
        interval = metrics.bootstrap_difference(hit, ~hit, generator=np.random.default_rng(0))
        assert -100.0 <= interval.low < -40.0 < interval.high < 40.0

    def test_refuses(self):
        rng, hit = np.random.default_rng(0), np.array([True, False])
        with pytest.raises(ValueError, match="at least one image"):
            metrics.bootstrap_accuracy(hit[:0], generator=rng)
        with pytest.raises(ValueError, match="bool"):
            metrics.bootstrap_accuracy(np.array([0.5, 1.0]), generator=rng)
        with pytest.raises(ValueError, match="bootstrap_samples"):
            metrics.bootstrap_accuracy(hit, generator=rng, num_samples=0)
        with pytest.raises(ValueError, match="level"):
            metrics.bootstrap_accuracy(hit, generator=rng, level=1.0)
        with pytest.raises(ValueError, match="same images"):
            metrics.bootstrap_difference(hit, hit[:1], generator=rng)


def test_relative_improvement():
    assert metrics.relative_improvement(97.0, 96.0) == pytest.approx(100.0 / 96.0)
    assert metrics.relative_improvement(90.0, 96.0) == pytest.approx(-6.25)
    with pytest.raises(ValueError, match="above 0"):
        metrics.relative_improvement(90.0, 0.0)
