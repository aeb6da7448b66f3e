"""Binary gates: the paper's gradient, what is drawn, and probabilities that a step leaves alone."""

import copy

import pytest
import torch

from darts_core.methods import METHODS
from darts_core.search.gates import BinaryGates, pair_adam
from darts_core.spaces import SPACES


def relaxation(seed=0):
    return BinaryGates().fresh(torch.Generator().manual_seed(seed))


def alpha(edges=5, operations=4):
    return torch.randn(edges, operations, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)


def test_the_gradient_of_alpha_is_equation_4():
    given = alpha()
    weights = relaxation().sample(given)
    slope = torch.randn_like(given)
    (weights.op_EO * slope).sum().backward()
    expected = torch.zeros_like(given)
    for edge, pair in enumerate(weights.active):
        p = given.detach()[edge, list(pair)].softmax(0)
        for i in range(2):
            for j in range(2):
                expected[edge, pair[i]] += slope[edge, pair[j]] * p[j] * (float(i == j) - p[i])
    torch.testing.assert_close(given.grad, expected)


def test_two_operations_are_computed_and_one_is_open():
    weights = relaxation().sample(alpha())
    assert all(len(set(pair)) == 2 for pair in weights.active)
    assert torch.equal(weights.op_EO.detach().sort(-1).values, torch.tensor([[0.0, 0.0, 0.0, 1.0]]).double().expand(5, 4))
    frozen = relaxation().sample(alpha().detach())
    assert all(len(path) == 1 for path in frozen.active)
    assert torch.equal(frozen.spent(), torch.ones(5, 1, dtype=torch.float64))


def test_where_nothing_is_to_be_chosen_the_gradient_is_zero():
    given = alpha(operations=1)
    weights = relaxation().sample(given)
    weights.op_EO.sum().backward()
    assert torch.equal(weights.op_EO.detach(), torch.ones(5, 1, dtype=torch.float64))
    assert torch.equal(given.grad, torch.zeros_like(given))


def test_the_open_one_is_drawn_by_its_probability():
    """With two operations both are drawn, and their shares are all that decides."""
    given = torch.tensor([[0.0, 1.0]]).expand(4000, 2).clone().requires_grad_()
    opened = relaxation().sample(given).op_EO.detach().mean(0)
    assert (opened - given[0].softmax(0)).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_a_step_leaves_the_probabilities_of_the_others():
    given = torch.nn.Parameter(alpha().detach().clone())
    optimizer = pair_adam([given], 0.1, 0.0)
    weights = relaxation().sample(given)
    (weights.op_EO * torch.randn_like(given)).sum().backward()
    before = given.detach().softmax(-1)
    optimizer.step()
    after = given.detach().softmax(-1)
    for edge, pair in enumerate(weights.active):
        others = [o for o in range(4) if o not in pair]
        torch.testing.assert_close(after[edge, others], before[edge, others])
        assert not torch.allclose(after[edge, list(pair)], before[edge, list(pair)])


def test_weight_decay_is_of_the_two_that_were_drawn():
    """Adam's first step goes by signs alone: decay turns that of the negative alpha, whose own gradient is small."""
    given = torch.tensor([[2.0, -1.0, 0.5, -0.3]])
    grad = torch.tensor([[1e-3, 1e-3, 0.0, 0.0]])
    steps = {}
    for decay in (0.0, 1.0):
        p = torch.nn.Parameter(given.clone())
        p.grad = grad.clone()
        pair_adam([p], 0.1, decay).step()
        assert torch.equal(p[:, 2:], given[:, 2:])
        steps[decay] = (p - given).detach()[0, :2]
    torch.testing.assert_close(steps[0.0], torch.zeros(2), atol=1e-4, rtol=0)  # both fell alike, and the shift took it back
    torch.testing.assert_close(steps[1.0][1] - steps[1.0][0], torch.tensor(0.2), atol=1e-4, rtol=0)


def test_the_supernet_s_gradient_of_a_gate_is_the_products_of_outputs():
    """By the difference that a little more of each of the two operations makes to the loss."""
    space = SPACES.build("nasbench201", {"init_channels": 2, "layers": 3})
    torch.manual_seed(0)
    net = METHODS.build("proxyless").supernet(space, in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    drawn = copy.deepcopy(net.relax).sample(net.arch.normal)
    net(x).square().sum().backward()
    found = net.arch.normal.grad[0].clone()
    slopes = []
    for o in drawn.active[0]:
        values = []
        for step in (1e-6, -1e-6):
            moved = drawn.op_EO.detach().clone()
            moved[0, o] += step
            net._imposed = {"normal": type(drawn)(moved, drawn.active)}
            values.append(net(x).square().sum().item())
        slopes.append((values[0] - values[1]) / 2e-6)
    p = net.arch.normal.detach()[0, list(drawn.active[0])].softmax(0)
    expected = [sum(slopes[j] * p[j] * (float(i == j) - p[i]) for j in range(2)) for i in range(2)]
    for o, value in zip(drawn.active[0], expected):
        assert found[o].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6)
