"""Operations that have become too light: no longer computed, for good, and what is left is a softmax over the rest."""

import pytest
import torch
from torch import nn

from darts_core.methods import METHODS
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.pruned import Pruned

SPACE = darts_cnn(init_channels=4, layers=3, nodes=1, primitives=("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"))


def supernet(backend="reference", **options):
    torch.manual_seed(0)
    method = METHODS.build("darts", {"prune_below": 1e-3, **options})
    net = method.supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
    net.use(BACKENDS[backend](), torch.device("cpu"))
    return net


def lighten(net, *places):
    with torch.no_grad():
        for cell_type, edge, o in places:
            net.arch.get(cell_type)[edge, o] -= 9.0
    net.pruned.prune(net.mixture(), 1e-3)


def counted(net):
    return [
        {name: {int(m.num_batches_tracked) for m in op.modules() if isinstance(m, nn.BatchNorm2d)} for name, op in edge.items()}
        for cell in net.cells
        for edge in cell.edges
    ]


@pytest.mark.parametrize("backend", ["reference", "eager", "native"])
def test_what_is_light_is_not_computed_and_the_rest_is_a_softmax_of_its_own(backend):
    net = supernet(backend)
    lighten(net, ("normal", 0, 3), ("normal", 1, 2), ("reduce", 1, 0))
    net(torch.randn(4, 1, 8, 8))
    ran = [{name for name, counts in edge.items() if counts == {1}} for edge in counted(net)]
    normal, reduce = [{"max_pool_3x3"}, {"sep_conv_3x3"}], [{"skip_connect", "max_pool_3x3", "sep_conv_3x3"}] * 2
    by_type = {"normal": normal, "reduce": reduce}
    assert ran == [names for cell_type in net.type_of_cell for names in by_type[cell_type]]
    weights = net.op_weights()
    expected = net.arch.normal[0, :3].softmax(0)
    torch.testing.assert_close(weights["normal"][0], torch.cat([expected, torch.zeros(1)]))
    torch.testing.assert_close(weights["reduce"].sum(1), torch.ones(2))
    assert net.pruned.share() == pytest.approx(3 / 16)


def test_the_gradient_is_that_of_the_softmax_over_the_rest():
    net, x = supernet(), torch.randn(4, 1, 8, 8)
    lighten(net, ("normal", 0, 3), ("reduce", 0, 1))
    slow = supernet()
    slow.load_state_dict(net.state_dict())
    assert slow.pruned.kept == net.pruned.kept
    net(x).square().sum().backward()
    alphas = {c: slow.arch.get(c).detach().clone().requires_grad_() for c in ("normal", "reduce")}
    masks = {c: ~slow.pruned.kept[c].mask() for c in alphas}
    slow.pruned = None
    with slow.weighing({c: alpha.masked_fill(masks[c], float("-inf")).softmax(-1) for c, alpha in alphas.items()}):
        slow(x).square().sum().backward()
    for c, alpha in alphas.items():
        torch.testing.assert_close(net.arch.get(c).grad, alpha.grad, rtol=1e-3, atol=1e-5)
        assert net.arch.get(c).grad[masks[c]].abs().max() < 1e-6


def test_an_architecture_is_computed_whole_whatever_is_gone():
    net, x = supernet(), torch.randn(4, 1, 8, 8)
    genotype = SPACE.random_genotype(torch.Generator().manual_seed(0))
    with net.only(genotype):
        expected = net(x)
    lighten(net, *((c, e, o) for c in ("normal", "reduce") for e in range(2) for o in range(3)))
    with net.only(genotype):
        assert torch.equal(net(x), expected)
    assert not torch.allclose(net(x), expected)


def test_what_is_gone_stays_gone_and_the_heaviest_stays():
    op_EO = {"normal": torch.tensor([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])}
    offered = {"normal": ((0, 1, 2), (0, 1, 2))}
    pruned = Pruned(op_EO, offered)
    pruned.prune({"normal": torch.tensor([[0.2, 0.7999, 0.0001], [0.0001, 0.0002, 0.0003]])}, 1e-3)
    pruned.prune(op_EO, 1e-3)
    assert pruned.kept["normal"].left == ((0, 1), (2,))
    other = Pruned(op_EO, offered)
    other.load_state_dict(pruned.state_dict())
    assert other.kept == pruned.kept


def test_gates_are_not_scaled_up():
    net = METHODS.build("fair_darts", {"prune_below": 1e-3}).supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator())
    with torch.no_grad():
        net.arch.normal[0, 1] = -9.0
    net.pruned.prune(net.mixture(), 1e-3)
    assert net.op_weights()["normal"][0].tolist() == [0.5, 0.0, 0.5, 0.5]


@pytest.mark.parametrize("name", ["gdas", "drnas", "gaea", "random_search"])
def test_where_a_light_operation_may_come_back_nothing_is_pruned(name):
    with pytest.raises(ValueError, match=r"method\.prune_below: leave it out"):
        METHODS.build(name, {"prune_below": 1e-3})


def test_the_limit_is_below_the_weights_at_the_start():
    method = METHODS.build("darts", {"prune_below": 0.25})
    message = r"method\.prune_below must be less than 0\.2\d*, the least that an operation weighs at first\. Got 0\.25"
    with pytest.raises(ValueError, match=message):
        method.supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator())
    gates = METHODS.build("fair_darts", {"prune_below": 0.4})  # which begin at a half
    assert gates.supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator()).pruned is not None
