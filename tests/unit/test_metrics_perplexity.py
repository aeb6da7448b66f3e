"""Perplexity and its intervals, beside a bootstrap that draws windows one by one."""

import math
import sys

import numpy as np
import pytest

from darts_core.metrics import bootstrap_perplexity, bootstrap_perplexity_ratio, perplexity

module = sys.modules[bootstrap_perplexity.__module__]  # darts_core.metrics.perplexity is the function
RNG = np.random.default_rng(0)
COUNT = RNG.integers(5, 40, 60)
NLL = COUNT * RNG.normal(4.0, 0.5, 60)
OTHER = NLL + COUNT * RNG.normal(0.1, 0.05, 60)


def plain(value, samples=4000):
    rng = np.random.default_rng(1)
    drawn = [value(rng.integers(60, size=60)) for _ in range(samples)]
    return np.quantile(drawn, [0.025, 0.975])


def test_perplexity():
    assert perplexity(math.log(8.0)) == pytest.approx(8.0)
    assert perplexity(1e4) == math.inf


def test_the_interval_is_that_of_windows_drawn_one_by_one():
    expected = plain(lambda k: math.exp(NLL[k].sum() / COUNT[k].sum()))
    found = bootstrap_perplexity(NLL, COUNT, generator=np.random.default_rng(2), num_samples=4000)
    assert found == pytest.approx(expected, rel=0.01)
    assert found.low < math.exp(NLL.sum() / COUNT.sum()) < found.high


def test_the_ratio_is_paired():
    expected = plain(lambda k: math.exp((NLL[k] - OTHER[k]).sum() / COUNT[k].sum()))
    found = bootstrap_perplexity_ratio(NLL, OTHER, COUNT, generator=np.random.default_rng(2), num_samples=4000)
    assert found == pytest.approx(expected, rel=0.003)
    alone = bootstrap_perplexity(NLL, COUNT, generator=np.random.default_rng(2))
    assert found.high - found.low < 0.1 * (alone.high - alone.low), "what is hard for both adds no noise"
    assert found.high < 1.0


def test_no_window_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_perplexity(np.array([]), np.array([], dtype=np.int64), generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="count above 0"):
        bootstrap_perplexity(NLL, 0 * COUNT, generator=np.random.default_rng(0))


def test_samples_drawn_a_few_at_a_time_are_the_same(monkeypatch):
    def both():
        generator = np.random.default_rng(3)
        return [
            *bootstrap_perplexity(NLL, COUNT, generator=generator, num_samples=101),
            *bootstrap_perplexity_ratio(NLL, OTHER, COUNT, generator=generator, num_samples=101),
        ]

    whole, sizes, plain_rng = both(), [], np.random.default_rng
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 7 * len(NLL))

    class Watched:
        def __init__(self, seed):
            self.own = plain_rng(seed)

        def multinomial(self, *args, size):
            sizes.append(size)
            return self.own.multinomial(*args, size=size)

    monkeypatch.setattr(np.random, "default_rng", Watched)
    assert both() == pytest.approx(whole, rel=1e-12)
    assert sizes == 2 * [*[7] * 14, 3]
