"""Exponentiated gradient against its closed form (Li et al., arXiv:2004.07802)."""

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.exponentiated import FLOOR, ExponentiatedGradient, onto_simplex
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn

FAN_IN = (2, 3, 4)


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameter(value):
    return torch.nn.Parameter(value.clone())


def uniform(like):
    return onto_simplex(torch.ones_like(like), FAN_IN)


def step(optimizer):
    """A step as the arch step takes it."""
    optimizer.step()
    for theta in optimizer.param_groups[0]["params"]:
        theta.data.copy_(onto_simplex(theta.detach(), FAN_IN))


def test_steps_equal_the_closed_form():
    """Multiplied step by step it is the softmax of the start's logarithm less lr times all gradients."""
    start = drawn(5, 4).softmax(-1)
    theta = parameter(start)
    optimizer = ExponentiatedGradient([theta], lr=0.1, weight_decay=0.0)
    gradients = [drawn(5, 4, seed=seed) for seed in range(1, 6)]
    for gradient in gradients:
        theta.grad = gradient
        step(optimizer)
    torch.testing.assert_close(theta.detach(), (start.log() - 0.1 * sum(gradients)).softmax(-1))


def test_it_stays_on_the_simplex_and_loses_no_operation():
    theta = parameter(uniform(drawn(3, 8)))
    optimizer = ExponentiatedGradient([theta], lr=10.0, weight_decay=0.0)
    for seed in range(20):
        theta.grad = drawn(3, 8, seed=seed) + torch.arange(8.0, dtype=torch.float64)
        step(optimizer)
        torch.testing.assert_close(theta.detach().sum(-1), torch.ones(3, dtype=torch.float64))
        assert theta.min() >= 0.99 * FLOOR
    for _ in range(10):
        theta.grad = -torch.arange(8.0, dtype=torch.float64).expand(3, 8)
        step(optimizer)
    assert theta[:, 7].min() > 0.99, "what was at the floor comes back"


def test_large_gradients_do_not_overflow():
    theta = torch.nn.Parameter(torch.full((1, 3), 1 / 3))
    theta.grad = torch.tensor([[-1e4, 0.0, 1e4]])
    step(ExponentiatedGradient([theta], lr=1.0, weight_decay=0.0))
    torch.testing.assert_close(theta.detach(), torch.tensor([[1.0, FLOOR, FLOOR]]) / (1.0 + 2.0 * FLOOR))


def test_the_floor_comes_ahead_of_the_normalisation():
    theta = parameter(torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    theta.grad = torch.tensor([[0.0, 1e3]], dtype=torch.float64)
    step(ExponentiatedGradient([theta], lr=1.0, weight_decay=0.0))
    torch.testing.assert_close(theta.detach(), torch.tensor([[1.0, FLOOR]], dtype=torch.float64) / (1.0 + FLOOR))


def test_edges_are_normalised_by_node():
    theta = parameter(uniform(drawn(9)))
    torch.testing.assert_close(theta.detach(), torch.tensor([1 / 2] * 2 + [1 / 3] * 3 + [1 / 4] * 4, dtype=torch.float64))
    theta.grad = drawn(9)
    before = theta.detach().clone()
    step(ExponentiatedGradient([theta], lr=0.3, weight_decay=0.0))
    for part in (slice(0, 2), slice(2, 5), slice(5, 9)):
        torch.testing.assert_close(theta.detach()[part], (before[part].log() - 0.3 * theta.grad[part]).softmax(0))


def test_decay_is_part_of_the_gradient():
    start = drawn(2, 3).softmax(-1)
    theta = parameter(start)
    theta.grad = drawn(2, 3, seed=1)
    step(ExponentiatedGradient([theta], lr=0.2, weight_decay=0.5))
    torch.testing.assert_close(theta.detach(), (start.log() - 0.2 * (drawn(2, 3, seed=1) + 0.5 * start)).softmax(-1))


@pytest.mark.parametrize("options", [{}, {"edge_weights": True, "channel_proportion": 2}])
def test_a_search_starts_uniform_and_stays_on_the_simplex(batch, options):
    method = METHODS.build("gaea", options)
    space = darts_cnn(init_channels=4, layers=3, nodes=2, primitives=("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
    supernet = method.supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()
    assert all(torch.equal(op_EO, torch.full((5, 4), 0.25, dtype=torch.float64)) for op_EO in supernet.mixture().values())
    steps = Bilevel(supernet, method, SearchConfig(arch_lr=0.1, arch_weight_decay=0.0))
    for number in range(3):
        steps.arch_step(train=batch(number), valid=batch(number + 10), lr=0.1)
        for op_EO in supernet.mixture().values():
            torch.testing.assert_close(op_EO.sum(1), torch.ones(5, dtype=torch.float64))
    for edge_E in supernet.edge_mixture().values():
        torch.testing.assert_close(torch.stack([edge_E[:2].sum(), edge_E[2:].sum()]), torch.ones(2, dtype=torch.float64))
    assert bool(supernet.edge_mixture()) == bool(options)
