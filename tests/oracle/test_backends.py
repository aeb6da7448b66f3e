"""Every backend in every memory mode beside the published forward: three whole steps in float64, and what the supernet then says."""

import dataclasses
import itertools
import logging
import typing

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import SearchConfig
from darts_core.engine import placing as placing_module
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.metrics import count_macs
from darts_core.ops.native import library as kernels
from darts_core.runtime.compiler import BuildError
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES as REGISTERED
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES, darts_cnn
from darts_core.supernet import choice as choice_module
from darts_core.supernet import shared
from darts_core.supernet.backend import BACKENDS, Eager, Native, Reference
from darts_core.supernet.choice import LONG_JOB, Choice, choose_backend, self_check

CPU = torch.device("cpu")
TOLERANCE = 1e-10
WAYS = {
    "reference lean": (Reference, True),
    "eager": (Eager, False),
    "eager lean": (Eager, True),
    "native": (Native, False),
    "native lean": (Native, True),
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
}
METHOD = {  # elsewhere darts
    "partial channels": ("pc_darts", {"channel_proportion": 2}),
    "one input, partial channels": ("pc_darts", {"channel_proportion": 2}),
}
SAMPLED = ("gdas", "proxyless", "snas")


def build(space, order="first"):
    torch.manual_seed(0)
    name, options = (order, {}) if order in SAMPLED else METHOD.get(space, ("darts", {}))
    method = METHODS.build(name, options if order in SAMPLED else {**options, "arch_gradient": order})
    generator = torch.Generator().manual_seed(0)
    built = REGISTERED.build("nasbench201" if space.startswith("one input") else "darts_cnn", SPACES[space])
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
        seen |= {f"{number} loss": taken.loss, f"{number} norm": taken.grad_norm, f"{number} logits": taken.logits}
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


@pytest.mark.parametrize(("backend", "is_lean"), list(itertools.product((Reference, Eager, Native), (False, True))))
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


class ContiguousEager(Eager):
    """As on a GPU: the layout that sums and gradients of the eager backend have there."""

    def memory_format(self, device):
        return torch.contiguous_format


def test_eager_in_the_layout_of_a_gpu():
    way = (ContiguousEager, False)
    expected = trajectory((Reference, False), space="all", order="first", size=(8, 8))
    text, error = worst(trajectory(way, space="all", order="first", size=(8, 8)), expected)
    assert error <= TOLERANCE, text


@pytest.mark.parametrize("backend", BACKENDS.values())
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


def choose(supernet, wanted="auto"):
    return choose_backend(supernet, wanted, CPU, size=(16, 16))


class TestChoice:
    def test_auto_takes_eager_where_it_agrees(self):
        supernet, _ = build("all")
        state = {name: value.clone() for name, value in supernet.state_dict().items()}
        choice = choose(supernet)
        assert isinstance(choice.backend, Eager)
        assert "self-check" in choice.why
        assert not choice.fell_back
        assert all(torch.equal(value, state[name]) for name, value in supernet.state_dict().items()), "the supernet is left alone"

    @pytest.mark.parametrize("stem", ["cifar", "imagenet"])
    def test_a_fresh_supernet_passes(self, stem):
        """Behind the ImageNet stem the small images shrink to a pixel, where pooled states have means of zero up to rounding."""
        assert isinstance(choose(fresh(stem=stem)).backend, Eager)

    @pytest.mark.parametrize("name", BACKENDS)
    def test_a_name_is_obeyed(self, name):
        skip_without_kernels(BACKENDS[name])
        assert choose(fresh(), name).backend.name == name

    def test_every_backend_can_be_named_in_params(self):
        assert {"auto", *BACKENDS} == set(typing.get_args(SearchConfig.model_fields["backend"].annotation))

    @pytest.mark.parametrize("factor", [1.0 + 1e-6, float("nan")])
    def test_a_backend_that_disagrees_is_not_taken(self, factor, monkeypatch, caplog):
        right = shared._weighted_batch_norm
        monkeypatch.setattr(shared, "_weighted_batch_norm", lambda bn, x, weight: factor * right(bn, x, weight))
        supernet = fresh()
        assert not self_check(supernet, Eager(), CPU) <= 1e-8
        with caplog.at_level(logging.WARNING):
            assert place(supernet, METHODS.build("darts"), SearchConfig(), CPU, (6, 3, 8, 8), batches=1)["backend"] == "reference"
        assert "reference, for eager failed its self-check" in caplog.text

    def test_kernels_that_are_wrong_in_float32_alone_are_found(self, monkeypatch):
        right = shared._weighted_batch_norm

        def wrong(bn, x, weight):
            out = right(bn, x, weight)
            return out * 1.2 if x.dtype == torch.float32 else out

        monkeypatch.setattr(shared, "_weighted_batch_norm", wrong)
        assert choose(fresh()).fell_back

    @pytest.mark.parametrize(("size", "expected"), [((32, 33), (32, 33)), ((224, 301), (64, 65))])
    def test_the_check_takes_no_more_memory_than_it_must(self, size, expected, monkeypatch):
        seen = []

        def one_pass(supernet, backend, device, *, dtype, size):
            seen.append(size)
            return {kind: {"all": torch.ones(1)} for kind in ("loss", "gradient", "buffer", "count")}

        monkeypatch.setattr(choice_module, "_one_pass", one_pass)
        choose_backend(fresh(), "auto", CPU, size=size)
        assert seen == [(16, 16)] * 2 + [expected] * 2

    def test_an_error_in_the_check_is_no_end(self, monkeypatch):
        def fail(*_):
            raise RuntimeError("no kernel image\nis available")

        monkeypatch.setattr(shared, "_weighted_batch_norm", fail)
        choice = choose(fresh())
        assert choice.backend.name == "reference"
        assert choice.why == "reference, for the self-check of eager ended with an error: no kernel image"

    def test_native_without_a_compiler_is_eager(self, monkeypatch, caplog):
        def fail():
            raise BuildError("no C++ compiler: none of c++ is on PATH")

        monkeypatch.setattr(choice_module, "library", fail)
        with caplog.at_level(logging.WARNING):
            placed = place(fresh(), METHODS.build("darts"), SearchConfig(backend="native"), CPU, (6, 3, 8, 8), batches=1)
        assert placed["backend"] == "eager"
        assert "backend eager, for native cannot be had: no C++ compiler: none of c++ is on PATH (self-check" in caplog.text

    @pytest.mark.parametrize(("operations", "expected"), [(0.99 * LONG_JOB, "eager"), (LONG_JOB, "native")])
    def test_auto_takes_native_for_long_jobs_alone(self, operations, expected):
        skip_without_kernels(BACKENDS["native"])
        choice = choose_backend(fresh(), "auto", CPU, size=(16, 16), operations=operations)
        assert choice.backend.name == expected
        assert not choice.fell_back

    def test_the_length_of_a_job_is_that_of_all_its_batches(self, monkeypatch):
        seen = []

        def choose(supernet, wanted, device, *, size, operations):
            seen.append(operations)
            return Choice(backend=Eager(), why="")

        monkeypatch.setattr(placing_module, "choose_backend", choose)
        cfg, supernet = SearchConfig(epochs=7, memory="normal"), fresh()
        for gradient in ("first", "unrolled"):
            place(supernet, METHODS.build("darts", {"arch_gradient": gradient}), cfg, CPU, (6, 3, 8, 8), batches=11)
        macs = count_macs(supernet, input_shape=(3, 8, 8))
        assert seen == [10.0 * macs * 6 * 11 * 7, 26.0 * macs * 6 * 11 * 7]

    def test_auto_without_a_compiler_is_eager_and_no_fault(self, monkeypatch):
        def fail():
            raise BuildError("no C++ compiler")

        monkeypatch.setattr(choice_module, "library", fail)
        choice = choose_backend(fresh(), "auto", CPU, size=(16, 16), operations=LONG_JOB)
        assert choice.why.startswith("eager, for native cannot be had: no C++ compiler (self-check")
        assert not choice.fell_back

    def test_native_is_for_the_cpu(self):
        choice = choose_backend(fresh().to("meta"), "native", torch.device("meta"), size=(16, 16))
        assert "native cannot be had: its kernels are for the CPU, and the device is meta" in choice.why
        assert choice.fell_back

    def test_buffers_count_in_the_self_check(self, monkeypatch):
        right = shared._normalise_batch

        def wrong(x, bn):
            pooled = right(x, bn)
            return dataclasses.replace(pooled, variance=1.1 * pooled.variance)

        monkeypatch.setattr(shared, "_normalise_batch", wrong)
        assert self_check(build("pools")[0], Eager(), CPU) > 1e-3
