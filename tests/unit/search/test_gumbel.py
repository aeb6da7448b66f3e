"""One path by Gumbel noise: its gradient beside the soft relaxation's, its distribution, its random numbers."""

import copy

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.search.gumbel import HardGumbel, gumbel_softmax
from darts_core.search.temperature import geometric, linear
from darts_core.spaces import SPACES
from darts_core.supernet.sampled import Weights

SPACE_OPTIONS = {
    "darts_cnn": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")},
    "nasbench201": {"init_channels": 2, "layers": 3},
}


def relaxation(seed=0):
    return HardGumbel().fresh(torch.Generator().manual_seed(seed))


def supernet(space="nasbench201", seed=0):
    torch.manual_seed(0)
    method = METHODS.build("gdas")
    net = method.supernet(
        SPACES.build(space, SPACE_OPTIONS[space]), in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(seed)
    ).double()
    with torch.no_grad():
        for alpha in net.arch_parameters():
            alpha.mul_(1000.0)
    net.relax.temperature = 2.0
    return net


def batch():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=generator), torch.randint(4, (6,), generator=generator)


@pytest.mark.parametrize("space", SPACE_OPTIONS)
def test_the_gradient_is_the_soft_relaxation_s_of_what_is_drawn(space):
    """The slow twin computes all operations, weighs them by the same numbers, and keeps the gradient of the drawn one's soft weight."""
    net = supernet(space)
    slow = copy.deepcopy(net)

    def every_operation(alpha_EO):
        relax = net_relax[0]
        soft = gumbel_softmax(alpha_EO, relax.exponential(alpha_EO), relax.temperature)
        drawn = F.one_hot(soft.argmax(-1), soft.shape[1]).double()
        return Weights(drawn + drawn * (soft - soft.detach()))

    net_relax = [copy.deepcopy(net.relax)]
    del slow.relax
    slow.relax = every_operation
    x, y = batch()
    losses = [F.cross_entropy(each(x), y) for each in (net, slow)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12)
    for loss in losses:
        loss.backward()
    for mine, expected in zip(net.arch_parameters(), slow.arch_parameters()):
        assert expected.grad.abs().max() > 1e-6
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-9, atol=1e-13)
    for (name, mine), expected in zip(net.weights().items(), slow.weights().values()):
        found = torch.zeros_like(mine) if mine.grad is None else mine.grad
        torch.testing.assert_close(
            found, torch.zeros_like(mine) if expected.grad is None else expected.grad, rtol=1e-9, atol=1e-13, msg=name
        )


def test_the_gradient_of_alpha_by_hand():
    """d loss / d alpha_i = sum over j of d loss / d w_j * p_j * (delta_ij - p_i) / temperature."""
    relax, alpha = relaxation(), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    relax.temperature = 0.7
    soft = gumbel_softmax(alpha.detach(), copy.deepcopy(relax).exponential(alpha), 0.7)
    weights = relax.sample(alpha)
    slope = torch.randn(3, 4, dtype=torch.float64)
    (weights.op_EO * slope).sum().backward()
    by_hand = torch.stack([(torch.diag(p) - torch.outer(p, p)) @ s / 0.7 for p, s in zip(soft, slope)])
    torch.testing.assert_close(alpha.grad, by_hand)
    assert torch.equal(weights.op_EO.detach().argmax(-1), soft.argmax(-1))
    torch.testing.assert_close(weights.spent().detach(), torch.ones(3, 1, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_operations_are_drawn_by_their_probability(temperature):
    relax, alpha = relaxation(), torch.tensor([[0.0, 1.0, -1.0]]).expand(4000, 3)
    relax.temperature = temperature
    drawn = torch.tensor(relax.sample(alpha).active).flatten().bincount(minlength=3) / 4000
    assert (drawn - alpha[0].softmax(0)).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_random_numbers_are_in_the_state():
    one, other = supernet(), supernet(seed=1)
    x, _ = batch()
    assert not torch.equal(one(x), one(x)), "each forward pass draws anew"
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    copied = copy.deepcopy(one)
    assert torch.equal(one(x), copied(x))


def test_evaluation_takes_the_most_probable_and_draws_nothing():
    net = supernet()
    before = net.relax.get_extra_state()
    x, _ = batch()
    assert torch.equal(net.eval()(x), net(x))
    assert torch.equal(net.relax.get_extra_state(), before)
    alpha = net.arch.normal
    assert net.relax(alpha).active == tuple((int(o),) for o in alpha.argmax(-1))
    assert torch.equal(net.mixture()["normal"], alpha.detach().softmax(-1))


def test_supernets_of_one_method_draw_apart():
    method = METHODS.build("gdas")
    space = SPACES.build("nasbench201", SPACE_OPTIONS["nasbench201"])
    nets = [method.supernet(space, in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    assert nets[0].relax is not nets[1].relax
    assert torch.equal(nets[0].relax.get_extra_state(), nets[1].relax.get_extra_state())


def test_temperatures():
    assert [linear(10.0, 0.1)(epoch, 3) for epoch in range(3)] == pytest.approx([10.0, 5.05, 0.1])
    assert [geometric(1.0, 0.01)(epoch, 3) for epoch in range(3)] == pytest.approx([1.0, 0.1, 0.01])
    assert linear(10.0, 0.1)(0, 1) == 10.0
    with pytest.raises(ValueError, match=r"method\.temperature must be positive .* Got 1\.0 and 2\.0"):
        METHODS.build("gdas", {"temperature": 1.0, "temperature_min": 2.0})
