import numpy as np
import pytest

from darts_core.hardware.statistics import compare, summarise


def test_the_figures_of_known_samples():
    summary = summarise([list(range(1, 51)), list(range(51, 102))])
    assert (summary.n, summary.median_ms, summary.mean_ms, summary.min_ms) == (101, 51.0, 51.0, 1.0)
    assert (summary.p90_ms, summary.p95_ms, summary.p99_ms, summary.iqr_ms) == (91.0, 96.0, 100.0, 50.0)
    assert summary.drift == pytest.approx(85.0 / 17.0)
    assert summary.outliers == 0
    assert not summary.is_p99_reliable


def test_p99_is_relied_on_from_a_thousand_samples():
    assert not summarise([[1.0] * 999]).is_p99_reliable
    assert summarise([[1.0] * 500] * 2).is_p99_reliable


def test_a_far_sample_is_counted_and_does_not_move_the_median():
    summary = summarise([[10.0, 11.0, 12.0, 13.0], [10.0, 11.0, 12.0, 500.0]])
    assert summary.outliers == 1
    assert summary.median_ms == 11.5
    assert summary.mean_ms > 70.0


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(30):
        summary = summarise(list(np.exp(rng.normal(size=(20, 15)))))
        hits += summary.median_low_ms <= 1.0 <= summary.median_high_ms
    assert hits >= 26  # of 30; seeded


def test_moods_of_whole_blocks_widen_the_interval():
    rng = np.random.default_rng(2)
    noise = rng.normal(10.0, 0.1, size=(10, 30))
    moody = noise + rng.normal(0.0, 2.0, size=(10, 1))
    calm, real = summarise(list(noise)), summarise(list(moody))
    assert real.median_high_ms - real.median_low_ms > 5.0 * (calm.median_high_ms - calm.median_low_ms)


def test_what_both_networks_suffer_cancels_in_the_ratio():
    moods = [1.0, 5.0, 2.0, 9.0]
    reference = [[mood, mood * 1.1, mood * 0.9] for mood in moods]
    ratio = compare([[2.0 * sample for sample in block] for block in reference], reference=reference)
    assert (ratio.ratio, ratio.ratio_low, ratio.ratio_high) == pytest.approx((2.0, 2.0, 2.0))
    assert compare(reference, reference=reference).noise == 0.0


def test_the_noise_floor_is_the_far_end_of_the_interval():
    ratio = compare([[0.8], [1.0], [1.1]], reference=[[1.0]] * 3)
    assert ratio.ratio == 1.0
    assert ratio.noise == pytest.approx(0.2)


def test_rounds_that_do_not_match_are_an_error():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        compare([[1.0], [1.0]], reference=[[1.0]])
