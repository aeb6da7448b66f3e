import csv
import json
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from darts_core import metrics
from darts_core.config import EvaluateConfig
from darts_core.engine.evaluate import evaluate

CFG = EvaluateConfig(bootstrap_samples=500, calibration_bins=10)


class Lookup(nn.Module):
    """A network whose logits are given: image i holds the number i in every pixel."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits, dtype=torch.float32))
        self.head = nn.Linear(1, 1)

    def forward(self, x):
        return self.logits[x[:, 0, 0, 0].long()]


def batches_of(labels, batch_size=7):
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels)).float()[:, None, None, None].expand(-1, 2, 4, 5)
    return list(zip(images.split(batch_size), labels.split(batch_size), strict=True))


def names(num_classes):
    return [f"class {k}" for k in range(num_classes)]


def case(num_images=50, num_classes=7, networks=("searched", "resnet20"), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_images)
    logits = {name: rng.normal(size=(num_images, num_classes)) + 2.0 * np.eye(num_classes)[labels] for name in networks}
    return labels, logits


def run(labels, logits, *, seed=0, cfg=CFG, class_names=None, batch_size=7):
    networks = {name: Lookup(table) for name, table in logits.items()}
    num_classes = next(iter(logits.values())).shape[1]
    batches = batches_of(labels, batch_size)
    return evaluate(networks, batches, device="cpu", cfg=cfg, class_names=class_names or names(num_classes), seed=seed)


def softmax(logits):
    logits = np.float64(np.float32(logits))
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_network_has_the_scores_of_scikit_learn():
    labels, logits = case(networks=("resnet20", "searched", "random_0"))
    result = run(labels, logits)
    assert [row.name for row in result.scores] == ["searched", "resnet20", "random_0"]
    for row in result.scores:
        p = softmax(logits[row.name])
        hit = p.argmax(1) == labels
        assert row.top1 == pytest.approx(100 * sk.accuracy_score(labels, p.argmax(1)))
        assert row.top5 == pytest.approx(100 * sk.top_k_accuracy_score(labels, p, k=5, labels=range(7)))
        assert row.nll == pytest.approx(sk.log_loss(labels, p, labels=range(7)))
        assert row.ece == pytest.approx(metrics.expected_calibration_error(metrics.reliability_table(p.max(1), hit, num_bins=10)))
        assert (row.low, row.high) == metrics.wilson_accuracy(hit)
        assert row.bootstrap_low < row.top1 < row.bootstrap_high
        assert (row.params_m, row.macs_m) == (2e-6, 0.0)


def test_the_searched_network_in_detail():
    labels, logits = case()
    result = run(labels, logits)
    p = softmax(logits["searched"])
    assert (result.confusion == sk.confusion_matrix(labels, p.argmax(1), labels=range(7))).all()
    assert [c.support for c in result.per_class] == np.bincount(labels, minlength=7).tolist()
    assert result.per_class == metrics.class_scores(result.confusion)
    assert sum(b.count for b in result.reliability) == 50
    np.testing.assert_allclose(result.predictions.confidences, p.max(1))
    assert (result.predictions.labels == labels).all()


def test_difference_to_the_searched_network_is_paired():
    labels, logits = case(num_images=200)
    logits["twin"] = logits["searched"]
    logits["worse"] = logits["searched"].copy()
    logits["worse"][:20] = -np.eye(7)[labels[:20]]
    searched, _, twin, worse = run(labels, logits).scores
    assert (searched.minus_searched, searched.minus_searched_low, searched.mcnemar_p) == (None, None, None)
    assert (twin.minus_searched, twin.minus_searched_low, twin.minus_searched_high, twin.mcnemar_p) == (0.0, 0.0, 0.0, 1.0)
    assert worse.minus_searched == pytest.approx(worse.top1 - searched.top1)
    assert worse.minus_searched_low < worse.minus_searched < worse.minus_searched_high < 0.0
    losses = round(2 * -worse.minus_searched)  # of 200 images; there is no win
    assert worse.mcnemar_p == pytest.approx(2 * 0.5**losses)
    assert worse.mcnemar_p < 0.05


def test_an_interval_without_0_is_not_yet_a_difference():
    """Five losses and no win: the bootstrap excludes 0, and yet a fair coin does as much once in 16."""
    labels = np.zeros(359, dtype=int)
    right, wrong = np.tile([1.0, 0.0], (359, 1)), np.tile([1.0, 0.0], (359, 1))
    wrong[:5] = [0.0, 1.0]
    _, other = run(labels, {"searched": right, "resnet20": wrong}).scores
    assert other.minus_searched_high < 0.0
    assert other.mcnemar_p == 0.0625


def test_result_does_not_depend_on_batches_or_on_other_networks():
    labels, logits = case(networks=("searched", "resnet20", "random_0"))
    whole, parts = run(labels, logits, batch_size=50), run(labels, logits, batch_size=3)
    assert whole.metrics() == pytest.approx(parts.metrics(), rel=1e-12)
    alone = run(labels, {name: logits[name] for name in ("searched", "random_0")})
    assert alone.scores == (whole.scores[0], whole.scores[2])


def test_seed_and_samples_reach_the_bootstrap():
    labels, logits = case()

    def interval(seed, num_samples):
        row = run(labels, logits, seed=seed, cfg=EvaluateConfig(bootstrap_samples=num_samples)).scores[0]
        return row.bootstrap_low, row.bootstrap_high

    assert interval(1, 3) == interval(1, 3)
    assert len({interval(seed, 3) for seed in range(5)}) > 1
    low, high = interval(0, 1)
    assert low == high


def test_relative_improvement_over_the_mean_of_the_random_networks():
    labels, logits = case(networks=("searched", "resnet20", "random_0", "random_1"))
    result = run(labels, logits)
    top1 = {row.name: row.top1 for row in result.scores}
    mean = (top1["random_0"] + top1["random_1"]) / 2
    assert result.vs_random == pytest.approx(100 * (top1["searched"] - mean) / mean)


@pytest.mark.parametrize("networks", [("searched",), ("searched", "random_0")])
def test_no_improvement_without_a_random_network_that_ever_hits(networks):
    labels, logits = case(networks=networks)
    if "random_0" in logits:
        logits["random_0"] = -np.eye(7)[labels]
    result = run(labels, logits)
    assert result.vs_random is None
    assert "vs_random" not in result.metrics()


def test_metrics_are_flat_numbers_with_the_agreed_names():
    labels, logits = case(networks=("searched", "resnet20", "random_0"))
    values = run(labels, logits).metrics()
    own = ["test_acc", "test_acc_low", "test_acc_high", "test_acc_bootstrap_low", "test_acc_bootstrap_high"]
    own += ["test_top5", "test_ece", "test_nll", "vs_random", "params_m", "macs_m"]
    others = [f"{name}_{key}" for name in ("resnet20", "random_0") for key in ("test_acc", "mcnemar_p", "params_m", "macs_m")]
    assert list(values) == own + others
    assert all(type(value) is float and math.isfinite(value) for value in values.values())
    assert 0.0 <= values["test_acc_low"] <= values["test_acc"] <= values["test_acc_high"] <= 100.0


def test_no_top5_with_five_classes():
    labels, logits = case(num_classes=5)
    result = run(labels, logits)
    assert result.scores[0].top5 is None
    assert "test_top5" not in result.metrics()


def test_saves_what_it_says(tmp_path):
    labels, logits = case(num_classes=3)
    labels[labels == 2] = 0
    result = run(labels, logits, class_names=["cat", "dog, small", "owl"])
    result.save(tmp_path / "reports")
    folder = tmp_path / "reports"
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == result.metrics()
    comparison = read(folder / "comparison.csv")
    assert [row["name"] for row in comparison] == ["searched", "resnet20"]
    assert float(comparison[1]["top1"]) == pytest.approx(result.scores[1].top1, rel=1e-5)
    assert (comparison[0]["minus_searched"], comparison[0]["top5"]) == ("", "")
    per_class = read(folder / "per_class.csv")
    assert list(per_class[0]) == ["class", "precision", "recall", "f1", "support"]
    assert (per_class[2]["class"], per_class[2]["recall"], per_class[2]["support"]) == ("owl", "", "0")
    confusion = read(folder / "confusion.csv")
    assert list(confusion[0]) == ["true", "cat", "dog, small", "owl"]
    assert [[int(row[name]) for name in ("cat", "dog, small", "owl")] for row in confusion] == result.confusion.tolist()
    reliability = read(folder / "reliability.csv")
    assert list(reliability[0]) == ["low", "high", "count", "confidence", "accuracy"]
    assert sum(int(row["count"]) for row in reliability) == 50
    predictions = read(folder / "predictions.csv")
    assert [int(row["index"]) for row in predictions] == list(range(50))
    assert {row["label"] for row in predictions} == {"cat", "dog, small"}
    hits = sum(row["label"] == row["prediction"] for row in predictions)
    assert 100 * hits / 50 == pytest.approx(result.scores[0].top1)
    assert all(100 / 3 <= float(row["confidence"]) <= 100 for row in predictions)
    assert [row["name"] for row in read(folder / "scores" / "test_accuracy.csv")] == ["searched", "resnet20"]
    assert [row["value"] for row in read(folder / "scores" / "test_accuracy.csv")] == [row["top1"] for row in comparison]


def test_saves_the_same_bytes_twice(tmp_path):
    labels, logits = case()
    for name in ("a", "b"):
        run(labels, logits).save(tmp_path / name)
    written = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(written) == 7
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in written)


def test_one_image():
    result = run(np.array([1]), {"searched": np.array([[0.0, 3.0]]), "random_0": np.array([[1.0, 0.0]])})
    assert (result.scores[0].top1, result.scores[0].bootstrap_low, result.scores[0].high) == (100.0, 100.0, 100.0)
    assert result.scores[0].low == pytest.approx(20.6549, abs=1e-4)  # 1 / (1 + 1.96^2): one image says little
    assert result.scores[1].minus_searched == -100.0
    assert result.vs_random is None
    assert math.isnan(result.per_class[0].recall)


def test_ties_go_to_the_first_class():
    result = run(np.array([0, 1, 2, 0]), {"searched": np.zeros((4, 3))})
    assert result.scores[0].top1 == 50.0
    assert result.predictions.classes.tolist() == [0, 0, 0, 0]
    assert result.confusion.tolist() == [[2, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_huge_logits_stay_finite():
    result = run(np.array([0, 1]), {"searched": np.array([[3e38, -3e38], [3e38, -3e38]])})
    assert math.isfinite(result.scores[0].nll)
    assert result.scores[0].ece == pytest.approx(50.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_name_the_network_and_the_image(bad):
    labels, logits = case()
    logits["resnet20"][17, 3] = bad
    with pytest.raises(ValueError, match=r"'resnet20'.*finite.*test image 17.*retrain\.lr"):
        run(labels, logits)


def test_a_network_of_other_classes_is_named():
    labels, logits = case()
    logits["resnet20"] = logits["resnet20"][:, :6]
    with pytest.raises(ValueError, match=r"'resnet20': expected logits of shape \(7, 7\). Got shape \(7, 6\)"):
        run(labels, logits)


def test_a_network_that_returns_no_tensor_is_named():
    class Pair(Lookup):
        def forward(self, x):
            return super().forward(x), None

    labels, logits = case()
    with pytest.raises(ValueError, match=r"'searched'.*Got tuple"):
        evaluate({"searched": Pair(logits["searched"])}, batches_of(labels), device="cpu", cfg=CFG, class_names=names(7), seed=0)


def test_refuses_labels_outside_the_classes_no_image_and_no_searched_network():
    labels, logits = case()
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.6. Got 0 to 7"):
        run(np.array([0, 7]), logits)
    with pytest.raises(ValueError, match="at least one test image"):
        evaluate({"searched": Lookup(logits["searched"])}, [], device="cpu", cfg=CFG, class_names=names(7), seed=0)
    with pytest.raises(ValueError, match="'searched' is needed"):
        run(labels, {"resnet20": logits["resnet20"]})


def test_reads_the_batches_once_without_gradients_in_evaluation_mode():
    labels, logits = case()
    seen = []

    class Watching(Lookup):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    once = iter(batches_of(labels, batch_size=10))
    networks = {"searched": Watching(logits["searched"]), "resnet20": Lookup(logits["resnet20"])}
    evaluate(networks, once, device="cpu", cfg=CFG, class_names=names(7), seed=0)
    # Five batches, and one image for the count of operations.
    assert seen == [(False, False)] * 6
