"""Every backend in every memory mode beside the published forward: three whole steps in float64, and what the supernet then says."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES as REGISTERED
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES, darts_cnn
from darts_core.supernet.backend import Compiled, Eager, Native, Reference

CPU = torch.device("cpu")
TOLERANCE = 1e-10


class Interpreted(Compiled):
    """The functions that ``compiled`` has compiled, as they stand: seconds where a compiler takes minutes."""

    def __init__(self):
        super().__init__(compiles=False)


class Separate(Eager):
    """Each operation a function of autograd, as on a GPU and where a gradient is differentiated again."""

    def __init__(self):
        super().__init__(is_twice=True)


WAYS = {
    "separate": (Separate, False),
    "separate lean": (Separate, True),
    "reference lean": (Reference, True),
    "eager": (Eager, False),
    "eager lean": (Eager, True),
    "native": (Native, False),
    "native lean": (Native, True),
    "interpreted": (Interpreted, False),
    "interpreted lean": (Interpreted, True),
}
SPACES = {
    "all": {"init_channels": 3, "layers": 3, "nodes": 3, "primitives": DARTS_PRIMITIVES},
    "imagenet stem": {"init_channels": 2, "layers": 4, "nodes": 2, "primitives": DARTS_PRIMITIVES, "stem": "imagenet"},
    "pools": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("max_pool_3x3", "avg_pool_3x3")},
    "skips and nothing": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("none", "skip_connect")},
    "convolutions": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("sep_conv_7x7", "conv_7x1_1x7")},
    "partial channels": {"init_channels": 4, "layers": 3, "nodes": 2, "primitives": DARTS_PRIMITIVES},
    "one input": {"init_channels": 4, "layers": 6},
    "one input, partial channels": {"init_channels": 4, "layers": 3},
    "one input, few operations": {"init_channels": 4, "layers": 3, "primitives": ("skip_connect", "nor_conv_1x1")},
    "layers": {"search_space": str(Path(__file__).with_name("layers.json"))},
}
METHOD = {  # elsewhere darts
    "partial channels": ("pc_darts", {"channel_proportion": 2}),
    "one input, partial channels": ("pc_darts", {"channel_proportion": 2}),
}
SAMPLED = ("gdas", "proxyless", "snas")
UNEVEN = [("skip_connect",), ("none", "sep_conv_3x3"), ("max_pool_3x3", "avg_pool_3x3", "dil_conv_5x5"), ("sep_conv_5x5", "skip_connect")]
"""What the first edges of a normal cell offer, where they differ; all others offer everything."""


TINY = {  # six edges of three shapes
    "init_channels": 2,
    "layers": 3,
    "nodes": 1,
    "primitives": ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"),
}


def build(space, order="first"):
    torch.manual_seed(0)
    name, options = (order, {}) if order in SAMPLED else METHOD.get(space, ("darts", {}))
    method = METHODS.build(name, options if order in SAMPLED else {**options, "arch_gradient": order})
    generator = torch.Generator().manual_seed(0)
    registered = "layerwise" if space == "layers" else "nasbench201" if space.startswith("one input") else "darts_cnn"
    built = REGISTERED.build(registered, SPACES.get(space.removesuffix(", uneven"), TINY))
    if space.endswith(", uneven"):
        rest = [built.primitives] * (len(built.shape.sources) - len(UNEVEN))
        built = dataclasses.replace(built, edge_primitives={"normal": (*UNEVEN, *rest)})
    supernet = method.supernet(built, in_channels=2, num_classes=3, generator=generator).double()
    with torch.no_grad():
        for alpha in supernet.arch_parameters():
            alpha.mul_(1000.0)  # from 1e-3 to a scale at which the operations differ
        for bn in supernet.modules():
            if isinstance(bn, nn.BatchNorm2d):
                bn.running_mean.normal_()  # edges with unlike buffers, as after a resumed search
    return supernet, Bilevel(supernet, method, SearchConfig(arch_lr=0.05))


def batch(number, size):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 2, *size, dtype=torch.float64, generator=generator), torch.randint(3, (6,), generator=generator)


def skip_without_kernels(backend):
    if backend is Native and not kernels.is_available():
        pytest.skip("no C++ compiler, so no native kernels")


def trajectory(way, *, space, order, size):
    """Everything that three steps leave behind: losses, logits, gradients of alpha, the state, outputs in evaluation."""
    backend, is_lean = way
    skip_without_kernels(backend)
    supernet, steps = build(space, order)
    supernet.use(backend(), CPU, is_lean=is_lean)
    seen = {}

    def note_gradients(*_):
        seen.update({f"{len(seen)} gradient of {name}": alpha.grad.clone() for name, alpha in supernet.arch.items()})

    steps.arch_optimizer.register_step_pre_hook(note_gradients)
    for number in range(3):
        seen[f"{number} arch loss"] = steps.arch_step(train=batch(number, size), valid=batch(number + 9, size), lr=0.025)
        taken = steps.weight_step(batch(number, size), lr=0.025)
        seen |= {f"{number} loss": taken.loss, f"{number} norm": taken.grad_norm, f"{number} accuracy": taken.accuracy()}
    seen |= {name: value.clone() for name, value in supernet.state_dict().items()}
    seen["evaluation"] = supernet.eval()(batch(20, size)[0]).detach()
    return seen


def worst(found, expected):
    assert found.keys() == expected.keys()

    def error(name):
        a, b = found[name].double(), expected[name].double()
        return float((a - b).abs().max()) / (float(b.abs().max()) or 1.0)

    name = max(expected, key=error)
    return f"{name}: {error(name):.1e}", error(name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["first", "unrolled", "exact"])
@pytest.mark.parametrize(
    ("space", "size"), [*((space, (64, 64) if "stem" in space else (8, 8)) for space in SPACES), ("all", (9, 14))], ids=str
)
def test_three_steps_equal_the_published_forward(way, order, space, size):
    expected = trajectory((Reference, False), space=space, order=order, size=size)
    text, error = worst(trajectory(WAYS[way], space=space, order=order, size=size), expected)
    assert error <= TOLERANCE, text


@pytest.mark.parametrize(("backend", "is_lean"), list(itertools.product((Reference, Eager, Separate, Native, Interpreted), (False, True))))
def test_every_gradient_of_one_pass(backend, is_lean):
    skip_without_kernels(backend)
    passes = []
    for way in ((Reference, False), (backend, is_lean)):
        supernet, _ = build("all")
        supernet.use(way[0](), CPU, is_lean=way[1])
        x, y = batch(1, (16, 16))
        x.requires_grad_()
        F.cross_entropy(supernet(x), y).backward()
        passes.append({"x": x.grad, **{name: p.grad for name, p in supernet.named_parameters()}, **dict(supernet.named_buffers())})
    assert all(value is not None for value in passes[1].values())
    text, error = worst(passes[1], passes[0])
    assert error <= TOLERANCE, text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("space", ["all, uneven", "partial channels, uneven"])
def test_edges_that_offer_different_operations(way, space):
    expected = trajectory((Reference, False), space=space, order="first", size=(8, 8))
    text, error = worst(trajectory(WAYS[way], space=space, order="first", size=(8, 8)), expected)
    assert error <= TOLERANCE, text


class ContiguousEager(Separate):
    """As on a GPU: the layout that sums and gradients of the eager backend have there."""

    def memory_format(self, device):
        return torch.contiguous_format


def test_eager_in_the_layout_of_a_gpu():
    way = (ContiguousEager, False)
    expected = trajectory((Reference, False), space="all", order="first", size=(8, 8))
    text, error = worst(trajectory(way, space="all", order="first", size=(8, 8)), expected)
    assert error <= TOLERANCE, text


@pytest.mark.parametrize("backend", [Reference, Eager, Separate, Native, Interpreted])
@pytest.mark.parametrize("order", ["first", "unrolled"])
def test_lean_changes_no_bit_of_a_float32_search(backend, order):
    """A search that goes on in the other mode, after memory ran out, is the same search."""
    skip_without_kernels(backend)
    runs = []
    for is_lean in (False, True):
        supernet, steps = build("all", order)
        supernet.float().use(backend(), CPU, is_lean=is_lean)
        for number in range(3):
            train, valid = ((x.float(), y) for x, y in (batch(number, (8, 8)), batch(number + 9, (8, 8))))
            steps.arch_step(train=train, valid=valid, lr=0.025)
            steps.weight_step(train, lr=0.025)
        runs.append(supernet.state_dict())
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())


def fresh(**options):
    """A supernet as a search starts it, in float32."""
    method = METHODS.build("darts")
    sizes = {"init_channels": 4, "layers": 4, "nodes": 2, **options}
    return method.supernet(darts_cnn(**sizes), in_channels=3, num_classes=5, generator=torch.Generator().manual_seed(0))
