import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from darts_core import metrics


def random_scores(num_images, num_classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num_images, num_classes, generator=generator)
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    return scores, labels


class TestRunningMean:
    def test_weights_batches_by_their_size(self):
        x = torch.randn(10)
        mean = metrics.RunningMean()
        for batch in x.split(4):
            mean.update(batch.mean(), len(batch))
        assert mean.count == 10
        assert mean.value == pytest.approx(x.double().mean().item(), rel=1e-6)

    def test_takes_numbers_and_tensors_that_need_a_gradient(self):
        w = torch.ones(1, requires_grad=True)
        mean = metrics.RunningMean()
        mean.update(3.0)
        mean.update(w * 6.0, 2)
        assert mean.value == pytest.approx(5.0)

    def test_sums_in_float64(self):
        mean = metrics.RunningMean()
        mean.update(torch.tensor(2.0**24), 1)
        for _ in range(8):
            mean.update(torch.tensor(1.0), 1)
        assert mean.value * 9 == pytest.approx(2.0**24 + 8, abs=1e-3)

    def test_is_an_error_without_examples(self):
        with pytest.raises(ValueError, match="empty loader"):
            _ = metrics.RunningMean().value
        with pytest.raises(ValueError, match=r"at least 1\. Got 0"):
            metrics.RunningMean().update(1.0, 0)


class TestTopK:
    @pytest.mark.parametrize("k", [1, 2, 5, 7])
    def test_equals_scikit_learn_without_ties(self, k):
        scores, labels = random_scores(200, 7)
        expected = 1.0 if k == 7 else sk.top_k_accuracy_score(labels.numpy(), scores.numpy(), k=k, labels=range(7))
        assert metrics.top_k_accuracy(scores, labels, k=k).item() == pytest.approx(100.0 * expected)

    def test_equals_a_stable_sort_with_ties(self):
        generator = torch.Generator().manual_seed(1)
        scores = torch.randint(3, (300, 6), generator=generator).float()
        labels = torch.randint(6, (300,), generator=generator)
        order = scores.sort(dim=1, descending=True, stable=True).indices
        expected = [row.tolist().index(label) for row, label in zip(order, labels.tolist(), strict=True)]
        assert metrics.label_rank(scores, labels).tolist() == expected
        assert ((metrics.label_rank(scores, labels) == 0) == (scores.argmax(1) == labels)).all()

    def test_a_constant_network_gets_no_gift(self):
        labels = torch.arange(10)
        assert metrics.top_k_accuracy(torch.zeros(10, 10), labels).item() == pytest.approx(10.0)
        assert metrics.top_k_accuracy(torch.zeros(10, 10), labels, k=5).item() == pytest.approx(50.0)

    def test_nan_is_never_a_hit(self):
        nan = math.nan
        scores = torch.tensor([[nan, nan, nan], [1.0, nan, 0.0], [nan, 0.0, 1.0], [0.0, math.inf, 1.0]])
        assert metrics.label_rank(scores, torch.tensor([0, 0, 0, 1])).tolist() == [3, 1, 3, 0]
        assert metrics.top_k_accuracy(scores[:3], torch.tensor([0, 0, 0])).item() == 0.0

    @pytest.mark.parametrize(("k", "count", "message"), [(0, 2, r"k must lie in 1\.\.3"), (4, 2, "Got 4"), (1, 0, "no images")])
    def test_refuses(self, k, count, message):
        with pytest.raises(ValueError, match=message):
            metrics.top_k_accuracy(torch.zeros(count, 3), torch.zeros(count, dtype=torch.int64), k=k)

    def test_refuses_shapes_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"Got \(2, 3\) and \(3,\)"):
            metrics.top_k_accuracy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))


class TestPerClass:
    @pytest.mark.parametrize("absent", [None, 4])
    def test_equals_scikit_learn(self, absent):
        rng = np.random.default_rng(0)
        labels, predictions = rng.integers(0, 5, 60), rng.integers(0, 5, 60)
        if absent is not None:
            labels[labels == absent] = 0
        confusion = metrics.confusion_matrix(labels, predictions, num_classes=5)
        assert (confusion == sk.confusion_matrix(labels, predictions, labels=range(5))).all()
        expected = sk.precision_recall_fscore_support(labels, predictions, labels=range(5), zero_division=np.nan)
        got = np.array([[s.precision, s.recall, s.f1, s.support] for s in metrics.class_scores(confusion)]).T
        np.testing.assert_allclose(got, np.array(expected) * [[100], [100], [100], [1]])
        assert absent is None or math.isnan(got[1, absent])

    def test_a_class_never_seen_nor_predicted_has_no_score(self):
        confusion = metrics.confusion_matrix(np.array([0, 0]), np.array([0, 1]), num_classes=3)
        seen, wrong, unseen = metrics.class_scores(confusion)
        assert (seen.precision, seen.recall, seen.support) == (100.0, 50.0, 2)
        assert wrong.precision == 0.0
        assert math.isnan(wrong.recall)
        assert math.isnan(unseen.precision)
        assert math.isnan(unseen.f1)
        assert unseen.support == 0

    def test_refuses_indices_outside(self):
        with pytest.raises(ValueError, match=r"predictions must lie in 0\.\.1. Got 0 to 2"):
            metrics.confusion_matrix(np.array([0, 1]), np.array([0, 2]), num_classes=2)
        with pytest.raises(ValueError, match="as many predictions as labels"):
            metrics.confusion_matrix(np.array([0, 1]), np.array([0]), num_classes=2)


class TestCalibration:
    def test_equals_a_plain_loop(self):
        rng = np.random.default_rng(0)
        confidence, hit, num_bins = rng.uniform(0.1, 1.0, 500), rng.random(500) < 0.7, 15
        ece = 0.0
        for m in range(num_bins):
            inside = [i for i in range(500) if m / num_bins < confidence[i] <= (m + 1) / num_bins]
            if inside:
                gap = sum(hit[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside)
                ece += len(inside) / 500 * abs(gap)
        bins = metrics.reliability_table(confidence, hit, num_bins=num_bins)
        assert metrics.expected_calibration_error(bins) == pytest.approx(100.0 * ece)
        assert sum(b.count for b in bins) == 500
        assert len(bins) == num_bins

    def test_edges_belong_to_the_lower_bin(self):
        bins = metrics.reliability_table(np.array([0.0, 0.25, 0.5, 0.5000001, 1.0]), np.ones(5, dtype=bool), num_bins=4)
        assert [b.count for b in bins] == [2, 1, 1, 1]
        assert [(b.low, b.high) for b in bins] == [(0.0, 25.0), (25.0, 50.0), (50.0, 75.0), (75.0, 100.0)]

    def test_known_forms(self):
        sure = metrics.reliability_table(np.ones(4), np.array([True, True, True, False]), num_bins=15)
        assert metrics.expected_calibration_error(sure) == pytest.approx(25.0)
        assert math.isnan(sure[0].accuracy)
        one = metrics.reliability_table(np.array([0.6]), np.array([True]), num_bins=1)
        assert metrics.expected_calibration_error(one) == pytest.approx(40.0)

    def test_refuses(self):
        hit = np.array([True])
        for confidence in (1.1, -0.1, math.nan):
            with pytest.raises(ValueError, match="probability"):
                metrics.reliability_table(np.array([confidence]), hit, num_bins=15)
        with pytest.raises(ValueError, match="calibration_bins"):
            metrics.reliability_table(np.array([0.5]), hit, num_bins=0)
        with pytest.raises(ValueError, match="shapes"):
            metrics.reliability_table(np.array([0.5, 0.5]), hit, num_bins=2)
        with pytest.raises(ValueError, match="at least one image"):
            metrics.expected_calibration_error(metrics.reliability_table(np.array([]), hit[:0], num_bins=2))


class Small(nn.Module):
    """A network with everything that is counted, and all that is not."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(14, 8))
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
        self.again = self.depthwise
        self.classifier = nn.Linear(8, 5)
        self.auxiliary_head = nn.Linear(8, 5)

    def arch_parameters(self):
        return [self.alpha]

    def forward(self, x):
        x = self.depthwise(torch.relu(self.bn(self.conv(x)))).mean((2, 3))
        return (self.classifier(x), self.auxiliary_head(x)) if self.training else self.classifier(x)


class TestCost:
    def test_parameters_leave_out_alphas_and_the_auxiliary_head(self):
        expected = (3 * 8 * 9 + 8) + 16 + 8 * 25 + (8 * 5 + 5)
        assert metrics.count_parameters(Small()) == expected
        assert metrics.count_parameters(nn.Sequential(Small(), nn.Linear(2, 2))) == expected + 6

    def test_macs_by_hand(self):
        assert metrics.count_macs(Small(), input_shape=(3, 9, 9)) == 5 * 5 * 8 * (27 + 25) + 8 * 5

    def test_macs_leave_the_network_as_it_was(self):
        network = Small()
        network.bn.eval()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        metrics.count_macs(network, input_shape=(3, 8, 8))
        assert network.training
        assert network.conv.training
        assert not network.bn.training
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    def test_macs_restore_the_mode_after_an_error(self):
        network = Small()
        with pytest.raises(RuntimeError):
            metrics.count_macs(network, input_shape=(4, 8, 8))
        assert network.training

    def test_macs_in_float64_and_without_parameters(self):
        assert metrics.count_macs(Small().double(), input_shape=(3, 8, 8)) == 4 * 4 * 8 * (27 + 25) + 8 * 5
        assert metrics.count_macs(nn.AvgPool2d(2), input_shape=(3, 8, 8)) == 0
