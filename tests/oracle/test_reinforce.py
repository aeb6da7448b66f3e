"""REINFORCE beside the enumerated gradient: all architectures of a tiny space, each by its probability and its reward."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.reinforce import Reinforce
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES

PRIMITIVES = ("skip_connect", "nor_conv_1x1")
PATHS = [tuple((o,) for o in path) for path in itertools.product(range(2), repeat=3)]


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(12, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (12,), generator=generator)


VALID = batch(1)


@pytest.fixture
def supernet():
    torch.manual_seed(1)
    space = SPACES.build("nasbench201", {"init_channels": 4, "layers": 3, "nodes": 3, "primitives": PRIMITIVES})
    net = METHODS.build("proxyless").supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        net.arch.normal.copy_(torch.tensor([[0.3, -0.4], [0.8, 0.1], [-0.5, 0.9]]))
    return net


def estimate(supernet, gradient, path=None):
    """Return the gradient of alpha, of the given path instead of a drawn one."""
    if path is not None:
        supernet.relax.pick = lambda log_EO: path
    gradient(supernet, F.cross_entropy, train=batch(0), valid=VALID, inner=None)
    return supernet.arch.normal.grad.clone()


def rewards(supernet, kind):
    """Return the reward of every path, computed by the supernet as the search computes a genotype."""
    found = []
    for path in PATHS:
        one_hot = torch.nn.functional.one_hot(torch.tensor(path).squeeze(1), 2).double()
        with torch.no_grad(), supernet.weighing({"normal": one_hot}):
            logits = supernet(VALID[0])
        right = (logits.argmax(1) == VALID[1]).double().mean()
        found.append(right if kind == "accuracy" else -F.cross_entropy(logits, VALID[1]))
    return torch.stack(found)


def enumerated(supernet, kind, entropy_weight):
    """Return the gradient of -(expected reward + weighted entropy), by differentiating all probabilities, and these."""
    alpha = supernet.arch.normal
    p = torch.stack([alpha.softmax(1).gather(1, torch.tensor(path)).prod() for path in PATHS])
    objective = (p * rewards(supernet, kind)).sum() - entropy_weight * (p * p.log()).sum()
    (grad,) = torch.autograd.grad(-objective, alpha)
    return grad, p.detach()


@pytest.mark.parametrize("kind", ["accuracy", "loss"])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_over_all_architectures_the_estimate_is_the_gradient_of_the_expected_reward(supernet, kind, entropy_weight, baseline):
    expected, p = enumerated(supernet, kind, entropy_weight)
    found = torch.zeros_like(expected)
    for probability, path in zip(p, PATHS):
        gradient = Reinforce(reward=kind, entropy_weight=entropy_weight)
        if baseline:
            gradient.load_state_dict({"total": torch.tensor(2 * baseline), "weight": torch.tensor(2.0)})
        assert gradient.baseline.item() == pytest.approx(baseline)
        found += probability * estimate(supernet, gradient, path)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 1e-3


def test_an_average_of_draws_beside_a_moving_baseline_is_unbiased(supernet):
    """Within four standard errors, of batches of draws under the one stream that the search would draw from."""
    expected, _ = enumerated(supernet, "loss", 0.1)
    value_of = dict(zip(PATHS, rewards(supernet, "loss")))
    gradient = Reinforce(reward="loss", entropy_weight=0.1, baseline_decay=0.9, draws=8)
    gradient._outcome = lambda net, loss, valid, drawn: (
        torch.zeros(()),
        value_of[drawn.weights["normal"].active] + 0.1 * drawn.entropy.detach(),
    )
    draws = torch.stack([estimate(supernet, gradient) for _ in range(400)])
    error = (draws.mean(0) - expected).abs() / (draws.std(0) / len(draws) ** 0.5)
    assert error.max() < 4.0
    without = Reinforce(reward="loss", entropy_weight=0.1, draws=8)
    without._outcome, without._remember = gradient._outcome, lambda rewards_S: None
    assert torch.stack([estimate(supernet, without) for _ in range(100)]).std(0).mean() > 1.5 * draws.std(0).mean(), "what it is for"


def test_the_baseline_is_the_average_of_the_steps_before():
    gradient, rewards_of_steps = Reinforce(baseline_decay=0.5), [0.2, 0.6, 0.4]
    seen = []
    for value in rewards_of_steps:
        seen.append(gradient.baseline.item())
        gradient._remember(torch.tensor([value, value]))
    assert seen == pytest.approx([0.0, 0.2, (0.2 + 2 * 0.6) / 3])


def test_nothing_but_alpha_has_a_gradient_and_no_graph_is_kept(supernet):
    supernet.requires_grad_(True)
    graphs = []
    supernet.classifier.register_forward_hook(lambda module, args, out: graphs.append(out.requires_grad))
    estimate(supernet, Reinforce(draws=3))
    assert graphs == [False] * 3
    assert all(p.grad is None for p in supernet.weights().values())


def test_a_step_s_memory_is_its_own_and_saved(supernet):
    method = METHODS.build("proxyless", {"arch_gradient": "reinforce", "draws": 2})
    steps = Bilevel(supernet, method, SearchConfig())
    steps.arch_step(train=batch(2), valid=VALID, lr=0.1)
    assert steps.arch_gradient.weight > 0.0
    assert method.arch_gradient.weight == 0.0, "another search by the same method begins anew"
    other = Bilevel(supernet, method, SearchConfig())
    other.load_state_dict(steps.state_dict())
    assert other.arch_gradient.baseline == steps.arch_gradient.baseline
