import numpy as np
import pytest

from darts_core.engine.evaluation import Evaluation, NetworkScores, Predictions
from darts_core.metrics import ReliabilityBin, class_scores, reliability_table
from darts_core.report.confusion import plot_confusion
from darts_core.report.evaluation import draw_evaluation, plot_comparison, plot_reliability


def scores(name, top1, *, low=None, high=None, minus=None):
    return NetworkScores(
        name=name,
        top1=top1,
        low=top1 - 1.0 if low is None else low,
        high=min(top1 + 1.0, 100.0) if high is None else high,
        bootstrap_low=top1 - 0.5,
        bootstrap_high=top1,
        top5=99.9,
        ece=0.8,
        nll=0.05,
        params_m=0.132,
        macs_m=14.5,
        minus_searched=minus,
        minus_searched_low=minus,
        minus_searched_high=minus,
        mcnemar_p=None if minus is None else 0.5,
    )


def confusion(num_classes, *, seed=0):
    rng = np.random.default_rng(seed)
    return np.diag(np.full(num_classes, 90)) + rng.poisson(0.5, size=(num_classes, num_classes))


def bins(num_bins=15):
    rng = np.random.default_rng(0)
    confidence = rng.beta(5, 1, size=500)
    return reliability_table(confidence, rng.random(500) < confidence, num_bins=num_bins)


def test_the_comparison_shows_every_network_with_its_interval(tmp_path, figures, is_readable):
    rows = [scores("searched", 99.4), scores("resnet20", 98.9), scores("a_name_that_is_much_too_long_for_a_chart", 97.5)]
    plot_comparison(rows, tmp_path / "comparison.png")
    texts = is_readable()
    assert {"searched", "resnet20", "a_name_that_is_much_too\u2026", "99.40 %", "0.132 M parameters"} <= set(texts)
    assert "top-1, with the 95 % Wilson interval over the test images" in texts
    intervals = [line.get_xdata() for line in figures[0].axes[0].lines if line.get_linewidth() == 4.5]
    assert [list(interval) for interval in intervals] == [[row.low, row.high] for row in rows]


@pytest.mark.parametrize("row", [scores("searched", 100.0, low=100.0, high=100.0), scores("searched", 0.0, low=0.0, high=0.0)])
def test_a_single_network_without_any_spread(row, tmp_path, figures, is_readable):
    plot_comparison([row], tmp_path / "comparison.png")
    is_readable()
    low, high = figures[0].axes[0].get_xlim()
    assert 0.0 <= low < high <= 100.0


@pytest.mark.parametrize("num_classes", [2, 20])
def test_a_small_confusion_matrix_has_its_values_in_percent_of_the_row(num_classes, tmp_path, figures, is_readable):
    counts = confusion(num_classes)
    plot_confusion(counts, [f"class {k}" for k in range(num_classes)], tmp_path / "confusion.png")
    is_readable()
    written = [text.get_text() for text in figures[0].axes[0].texts]
    share = 100 * counts / counts.sum(axis=1, keepdims=True)
    assert written == [f"{value:.1f}" if value < 99.95 else "100" for value in share.ravel() if value > 0]


@pytest.mark.parametrize("num_classes", [21, 100, 1000])
def test_a_large_confusion_matrix_lists_the_worst_confusions(num_classes, tmp_path, figures, is_readable):
    counts = np.diag(np.full(num_classes, 80))
    counts[3, 7] = 20
    names = [f"a rather long class name {k}" if k % 2 else str(k) for k in range(num_classes)]
    plot_confusion(counts, names, tmp_path / "confusion.png")
    texts = is_readable()
    assert "20.0 %" in texts
    assert "a rather long c\u2026 \u2192 a rather long c\u2026" in texts
    assert sum("\u2192" in text for text in texts) == 1
    assert not figures[0].axes[0].texts
    assert len(figures[0].axes[0].get_xticks()) <= 45
    assert max(figures[0].get_size_inches()) < 15


def test_without_a_confusion_the_list_says_so(tmp_path, is_readable):
    plot_confusion(np.eye(30, dtype=int), [str(k) for k in range(30)], tmp_path / "confusion.png")
    assert "none" in is_readable()


def test_one_predicted_class_a_class_without_images_and_one_that_looks_like_mathematics(tmp_path, figures, is_readable):
    counts = np.array([[0, 10, 0], [0, 12, 0], [0, 0, 0]])
    plot_confusion(counts, ["cat", "dog", "$a_b$"], tmp_path / "confusion.png")
    texts = is_readable()
    assert texts.count("100") == 2
    assert "no test images" in texts
    assert "$a_b$" in texts
    assert not any(text.get_parse_math() for text in figures[0].axes[0].get_yticklabels())


def test_a_matrix_of_another_size_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(3, 3\) expected. Got \(2, 2\)"):
        plot_confusion(np.eye(2, dtype=int), ["a", "b", "c"], tmp_path / "confusion.png")


def test_reliability_shows_the_bins_that_hold_images(tmp_path, figures, is_readable):
    table = bins()
    plot_reliability(table, tmp_path / "reliability.png", ece=1.234)
    assert "expected calibration error 1.23 percentage points" in is_readable()
    curve = next(line for line in figures[0].axes[0].lines if line.get_marker() == "o")
    held = [b for b in table if b.count]
    assert len(held) < len(table)
    assert curve.get_xydata().tolist() == [[b.confidence, b.accuracy] for b in held]
    assert sum(bar.get_height() for bar in figures[0].axes[1].patches) == pytest.approx(100)


def test_reliability_of_one_bin(tmp_path, is_readable):
    plot_reliability([ReliabilityBin(0.0, 100.0, 10, 99.0, 100.0)], tmp_path / "reliability.png", ece=1.0)
    is_readable()


def test_an_evaluation_is_drawn_as_a_whole(tmp_path, png_size):
    labels = np.array([0, 1, 2, 2])
    counts = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]])
    predictions = Predictions(
        labels=labels, classes=np.array([0, 1, 1, 2]), confidences=np.full(4, 0.9), label_ranks=np.array([0, 0, 1, 0]), nll=np.full(4, 0.1)
    )
    evaluation = Evaluation(
        class_names=("a", "b", "c"),
        scores=(scores("searched", 75.0), scores("random_0", 70.0, minus=-5.0)),
        vs_random=7.1,
        predictions=predictions,
        confusion=counts,
        per_class=class_scores(counts),
        reliability=bins(),
    )
    paths = draw_evaluation(evaluation, tmp_path / "evaluate")
    assert [path.name for path in paths] == ["comparison.png", "confusion.png", "reliability.png"]
    assert all(min(png_size(path)) > 200 for path in paths)
