"""A node of the kernels beside the same node in plain PyTorch: any number of channels, any size, any stride, one thread or more."""

import pytest
import torch
from torch import nn

from darts_core.ops import OPS
from darts_core.ops.depthwise import DepthwiseConv2d
from darts_core.ops.native import library as kernels
from darts_core.supernet.candidates import Candidates
from darts_core.supernet.cell import candidate
from darts_core.supernet.compiled import CompiledSource, compiled_total
from darts_core.supernet.edgewise import EdgewiseSource, edgewise_total
from darts_core.supernet.native import NativeSource, Node, native_total
from darts_core.supernet.source import PlainSource, plain_total

pytestmark = pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")

PRIMITIVES = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-3}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def node(*, channels, stride, primitives=PRIMITIVES, states=2, dtype=torch.float64):
    """Two edges of candidates, with buffers that differ from a fresh module's."""
    torch.manual_seed(0)
    edges = nn.ModuleList(nn.ModuleDict({name: candidate(name, channels, stride=stride) for name in primitives}) for _ in range(states))
    with torch.no_grad():
        for bn in edges.modules():
            if isinstance(bn, nn.BatchNorm2d):
                bn.running_mean.normal_()
                bn.running_var.uniform_(0.5, 2.0)
    return edges.to(dtype)


def new_edgewise(x):
    return EdgewiseSource(x, forgets=False, known=Candidates())


def new_compiled(x):
    return CompiledSource(x, compiles=False)


def native_sum(terms):
    return NativeSource(native_total(terms)).x


def run(edges, source, total, xs, weights, *, frozen=False):
    """Everything that a forward and a backward pass leave behind."""
    xs, weights = [x.clone().requires_grad_() for x in xs], weights.clone().requires_grad_()
    for p in edges.parameters():
        p.grad = None
        p.requires_grad_(not frozen)
    own = [source(x) for x in xs]
    terms = [state.term(op, w) for state, edge, row in zip(own, edges, weights) for op, w in zip(edge.values(), row)]
    out = total(terms)
    seen = {"out": out.detach(), "grad of nothing": torch.ones(1)}
    if out.requires_grad:
        (out * torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
        seen |= {f"grad of x{i}": x.grad for i, x in enumerate(xs)} | {"grad of weights": weights.grad}
        seen |= {name: p.grad for name, p in edges.named_parameters() if not frozen}
    for p in edges.parameters():
        p.requires_grad_(True)
    seen = {name: torch.zeros(1) if value is None else value for name, value in seen.items()}  # of what nothing depends on
    return seen | {name: buffer.clone() for name, buffer in edges.named_buffers()}


def compare(found, expected, dtype):
    assert found.keys() == expected.keys()
    largest = max(float(value.abs().max()) for name, value in expected.items() if name.startswith("grad"))
    for name, value in expected.items():
        # BatchNorm makes some gradients zero up to rounding, such as that of the weights of a single channel.
        scale = (float(value.abs().max()) if name == "out" else max(float(value.abs().max()), 1e-2 * largest)) or 1.0
        error = float((found[name].double() - value.double()).abs().max()) / scale
        assert error <= TOLERANCE[dtype], f"{name}: {error:.1e}"


def check_beside_plain(edges, source, total, *, has_grad):
    """Compare a node's sum and buffers with those of the published forward."""
    state = {name: value.clone() for name, value in edges.state_dict().items()}
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    weights = torch.rand(3, 4, dtype=torch.float64)
    found = []
    for make, summed in ((PlainSource, plain_total), (source, total)):
        edges.load_state_dict(state)
        with torch.set_grad_enabled(has_grad):
            own = make(x)
            terms = [own.term(op, w) for edge, row in zip(edges, weights) for op, w in zip(edge.values(), row)]
            out = summed(terms).detach()
        found.append({"out": out, **{name: buffer.clone() for name, buffer in edges.named_buffers()}})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-11, atol=1e-11, msg=name)


def both(*, channels, size, stride, dtype=torch.float64, batch=3, frozen=False, train=True, **options):
    edges = node(channels=channels, stride=stride, dtype=dtype, **options)
    edges.train(train)
    state = {name: value.clone() for name, value in edges.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    xs = [torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator).to(dtype) for _ in edges]
    weights = torch.rand(len(edges), len(edges[0]), dtype=torch.float64, generator=generator).to(dtype)
    expected = run(edges, PlainSource, plain_total, xs, weights, frozen=frozen)
    edges.load_state_dict(state)
    found = run(edges, NativeSource, native_sum, xs, weights, frozen=frozen)
    compare(found, expected, dtype)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 13, 16, 36])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_number_of_channels(channels, stride):
    both(channels=channels, size=(9, 12), stride=stride)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 8), (31, 6), (6, 31), (14, 110)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_any_size(size, stride):
    both(channels=5, size=size, stride=stride)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_number_of_threads(count, batch, threads):
    threads(count)
    both(channels=6, size=(10, 10), stride=1, batch=batch)
    both(channels=6, size=(10, 10), stride=2, batch=batch)


@pytest.mark.parametrize("stride", [1, 2])
def test_single_precision(stride):
    both(
        channels=16, size=(16, 16), stride=stride, dtype=torch.float32, batch=8, primitives=("sep_conv_3x3", "dil_conv_5x5", "skip_connect")
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_frozen_weights(stride):
    both(channels=4, size=(8, 8), stride=stride, frozen=True)


def test_evaluation():
    """With gradients torch differentiates; without, the kernels compute."""
    both(channels=4, size=(8, 8), stride=1, train=False)
    with torch.no_grad():
        both(channels=4, size=(8, 8), stride=1, train=False)


@pytest.mark.parametrize("has_grad", [True, False])
@pytest.mark.parametrize(("source", "total"), [(NativeSource, native_sum), (new_edgewise, edgewise_total), (new_compiled, compiled_total)])
@pytest.mark.parametrize("first", [0, 1])
def test_some_batch_norms_are_frozen(source, total, has_grad, first):
    """As somebody who tunes a supernet may leave them; each goes by its own mode, also beside others on the same pooled state."""
    edges = node(channels=4, stride=1, primitives=("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"), states=3)
    for bn in [part for part in edges.modules() if isinstance(part, nn.BatchNorm2d)][first::2]:
        bn.eval()
    check_beside_plain(edges, source, total, has_grad=has_grad)


@pytest.mark.parametrize(("source", "total"), [(NativeSource, native_sum), (new_edgewise, edgewise_total), (new_compiled, compiled_total)])
def test_batch_norms_are_unlike(source, total):
    """Of each other in epsilon and momentum: what edges share of a pooled state is by the same epsilon."""
    edges = node(channels=4, stride=1, primitives=("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"), states=3)
    for number, bn in enumerate(part for part in edges.modules() if isinstance(part, nn.BatchNorm2d)):
        bn.eps, bn.momentum = 1e-3 * (1 + number), 0.05 * (1 + number % 7)
    check_beside_plain(edges, source, total, has_grad=True)


@pytest.mark.parametrize("name", OPS.names())
def test_every_operation_alone(name):
    both(channels=4, size=(8, 8), stride=1, primitives=(name,))


def test_a_value_that_is_none_is_not_hidden():
    edges = node(channels=4, stride=1)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    x[0, 0, 0, 0] = float("nan")
    terms = [NativeSource(x).term(op, torch.ones((), dtype=x.dtype)) for op in edges[0].values()]
    assert native_sum(terms).isnan().any()


@pytest.mark.parametrize("name", ["sep_conv_3x3", "max_pool_3x3"])
@pytest.mark.parametrize(
    ("source", "total"),
    [(PlainSource, plain_total), (NativeSource, native_sum), (new_edgewise, edgewise_total), (new_compiled, compiled_total)],
)
def test_a_single_value_cannot_be_normalised(source, total, name):
    edges = node(channels=4, stride=1)
    own = source(torch.randn(1, 4, 1, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"more than (one|1) value"):
        total([own.term(edges[0][name], torch.ones((), dtype=torch.float64))])


def test_gradients_cannot_be_differentiated_again():
    edges = node(channels=4, stride=1)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    out = native_sum([NativeSource(x).term(edges[0]["sep_conv_3x3"], torch.ones((), dtype=x.dtype))])
    (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def one(op, x):
    """What the kernels would take on, or not: the term of one candidate."""
    return native_total([NativeSource(x).term(op, torch.ones((), dtype=x.dtype))])


@pytest.mark.parametrize(
    "change",
    [
        lambda op: op.float(),
        lambda op: setattr(op, "dw", DepthwiseConv2d(4, 3, padding=3)),
        lambda op: setattr(op, "dw", DepthwiseConv2d(4, 3, stride=2, padding=1, dilation=2).double()),
        lambda op: setattr(op, "pw", nn.Conv2d(4, 4, 3, padding=1, bias=False).double()),
        lambda op: setattr(op, "pw", nn.Conv2d(4, 6, 1, bias=False).double()),
        lambda op: setattr(op, "bn", nn.BatchNorm2d(4).double()),
        lambda op: setattr(op, "bn", nn.BatchNorm2d(4, affine=False, momentum=None).double()),
    ],
)
def test_what_the_kernels_do_not_know_is_left_to_torch(change):
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    op = candidate("dil_conv_3x3", 4, stride=1).double()
    assert isinstance(one(op, x), Node)
    change(op)
    try:
        found = one(op, x)
    except RuntimeError as error:  # torch's own complaint
        found = error
    assert not isinstance(found, Node)
    assert "kernels" not in str(found)


def test_saved_maps_may_come_back_in_another_layout():
    edges = node(channels=4, stride=1)
    xs = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in edges]
    weights = torch.rand(2, len(PRIMITIVES), dtype=torch.float64)
    expected = run(edges, NativeSource, native_sum, xs, weights)
    for bn in edges.modules():
        if isinstance(bn, nn.BatchNorm2d):
            bn.momentum = 0.0
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(memory_format=torch.contiguous_format), lambda t: t):
        found = run(edges, NativeSource, native_sum, xs, weights)
    gradients = {name: value for name, value in expected.items() if not name.endswith("num_batches_tracked")}
    compare({name: found[name] for name in gradients}, gradients, torch.float64)


def test_maps_of_unlike_width_are_refused():
    x, other = (torch.randn(2, channels, 8, 8, dtype=torch.float64) for channels in (4, 5))
    op = candidate("dil_conv_3x3", 4, stride=1).double()
    terms = [NativeSource(x).term(op, torch.ones((), dtype=x.dtype)), (None, other)]
    with pytest.raises(ValueError, match="of one batch, width and precision"):
        native_sum(terms)
