"""Operations that are dropped, chosen or cut: what the others weigh, and that nothing else is computed."""

import pytest
import torch
from torch import nn

from darts_core.methods import METHODS
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.kept import Kept
from darts_core.supernet.sampled import Weights

PRIMITIVES = ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3")
SPACE = darts_cnn(init_channels=4, layers=3, nodes=2, primitives=PRIMITIVES)


def supernet(backend="reference", **options):
    torch.manual_seed(0)
    net = METHODS.build("darts", options).supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
    net.use(BACKENDS[backend](), torch.device("cpu"))
    return net


def kept():
    everything = Kept.all(5, 4)
    return {
        "normal": everything.without(0, 3).without(0, 0).choosing(1, 3).cutting(4, 0),
        "reduce": everything.choosing(2, 1).without(3, 2),
    }


def test_weights_of_what_is_left():
    op_EO = torch.rand(5, 4)
    weights = kept()["normal"].of(Weights(op_EO))
    expected = op_EO.clone()
    expected[0, [0, 3]] = 0.0
    expected[1] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    expected[4] = 0.0
    assert torch.equal(weights.op_EO, expected)
    assert weights.active == ((1, 2), (3,), (0, 1, 2, 3), (0, 1, 2, 3), (0,))
    assert [row[: len(a)].tolist() for row, a in zip(weights.spent(), weights.active)] == [
        expected[e, list(a)].tolist() for e, a in enumerate(weights.active)
    ]
    assert weights.edge_E.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_of_what_is_drawn_what_is_left_is_computed():
    drawn = Weights(torch.rand(5, 4), ((3,), (0,), (2,), (1,), (1,)))
    assert kept()["normal"].of(drawn).active == ((1,), (3,), (2,), (1,), (0,))


def test_an_edge_keeps_an_operation():
    with pytest.raises(ValueError, match=r"An edge keeps at least one operation\. Got none for edge 1"):
        Kept.all(3, 1).without(1, 0)


@pytest.mark.parametrize("options", [{}, {"channel_proportion": 2, "edge_weights": True}, {"channel_proportion": 2}], ids=str)
@pytest.mark.parametrize("backend", ["reference", "eager", "native"])
def test_it_computes_what_weights_of_zero_would_and_no_more(backend, options):
    net, slow = supernet(backend, **options), supernet(**options)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with net.keeping(kept()):
        found = net(x)
    weights = {c: k.of(Weights(slow.op_weights()[c])) for c, k in kept().items()}
    with slow.imposing({c: Weights(w.op_EO, edge_E=w.edge_E) for c, w in weights.items()}):
        expected = slow(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(
        *(torch.autograd.grad(out.square().sum(), n.arch_parameters()[:2]) for n, out in ((net, found), (slow, expected)))
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backend", ["reference", "eager", "native"])
def test_what_is_dropped_is_not_computed(backend):
    """A convolution that is computed counts a batch; and so does a pool's BatchNorm."""
    net = supernet(backend)
    with net.keeping(kept()):
        net(torch.randn(4, 1, 8, 8))
    for cell, cell_type in zip(net.cells, net.type_of_cell):
        for edge, left in zip(cell.edges, kept()[cell_type].left):
            for o, (name, op) in enumerate(edge.items()):
                counts = {int(m.num_batches_tracked) for m in op.modules() if isinstance(m, nn.BatchNorm2d)}
                assert counts <= {int(o in left)}, (name, counts)
