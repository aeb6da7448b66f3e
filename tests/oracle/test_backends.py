"""Every backend in every memory mode beside the published forward: three whole steps in float64, and what the supernet then says."""

import dataclasses
import itertools
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import SearchConfig
from darts_core.engine.search import place
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES, darts_cnn
from darts_core.supernet import shared
from darts_core.supernet.backend import Eager, Reference
from darts_core.supernet.choice import choose_backend, self_check
from darts_core.supernet.footprint import estimate_peak_mib

CPU = torch.device("cpu")
TOLERANCE = 1e-10
WAYS = {"reference lean": (Reference, True), "eager": (Eager, False), "eager lean": (Eager, True)}
SPACES = {
    "all": {"init_channels": 3, "layers": 3, "nodes": 3, "primitives": DARTS_PRIMITIVES},
    "imagenet stem": {"init_channels": 2, "layers": 4, "nodes": 2, "primitives": DARTS_PRIMITIVES, "stem": "imagenet"},
    "pools": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("max_pool_3x3", "avg_pool_3x3")},
    "skips and nothing": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("none", "skip_connect")},
    "convolutions": {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ("sep_conv_7x7", "conv_7x1_1x7")},
}


def build(space, order="first"):
    torch.manual_seed(0)
    method = METHODS.build("darts", {"arch_gradient": order})
    supernet = (
        darts_cnn(**SPACES[space])
        .supernet(in_channels=2, num_classes=3, relax=method.relax, mixed=method.mixed, generator=torch.Generator().manual_seed(0))
        .double()
    )
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


def trajectory(way, *, space, order, size):
    """Everything that three steps leave behind: losses, logits, gradients of alpha, the state, outputs in evaluation."""
    supernet, steps = build(space, order)
    backend, is_lean = way
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
    ("space", "size"), [*((space, (32, 32) if "stem" in space else (8, 8)) for space in SPACES), ("all", (9, 14))], ids=str
)
def test_three_steps_equal_the_published_forward(way, order, space, size):
    expected = trajectory((Reference, False), space=space, order=order, size=size)
    text, error = worst(trajectory(WAYS[way], space=space, order=order, size=size), expected)
    assert error <= TOLERANCE, text


@pytest.mark.parametrize(("backend", "is_lean"), list(itertools.product((Reference, Eager), (False, True))))
def test_every_gradient_of_one_pass(backend, is_lean):
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


class TestChoice:
    def test_auto_takes_eager_where_it_agrees(self):
        supernet, _ = build("all")
        state = {name: value.clone() for name, value in supernet.state_dict().items()}
        backend, why = choose_backend(supernet, "auto", CPU)
        assert isinstance(backend, Eager)
        assert "self-check" in why
        assert all(torch.equal(value, state[name]) for name, value in supernet.state_dict().items()), "the supernet is left alone"

    @pytest.mark.parametrize("name", ["reference", "eager"])
    def test_a_name_is_obeyed(self, name):
        assert choose_backend(build("all")[0], name, CPU)[0].name == name

    @pytest.mark.parametrize("factor", [1.0 + 1e-6, float("nan")])
    def test_a_backend_that_disagrees_is_not_taken(self, factor, monkeypatch, caplog):
        right = shared._weighted_batch_norm
        monkeypatch.setattr(shared, "_weighted_batch_norm", lambda bn, x, weight: factor * right(bn, x, weight))
        supernet, _ = build("all")
        assert not self_check(supernet, Eager(), CPU) <= 1e-8
        with caplog.at_level(logging.INFO):
            assert place(supernet, SearchConfig(), CPU, (6, 2, 8, 8))["backend"] == "reference"
        assert "reference, for eager failed its self-check" in caplog.text

    def test_buffers_count_in_the_self_check(self, monkeypatch):
        right = shared._normalise_batch

        def wrong(x, bn):
            pooled = right(x, bn)
            return dataclasses.replace(pooled, variance=1.1 * pooled.variance)

        monkeypatch.setattr(shared, "_normalise_batch", wrong)
        assert self_check(build("pools")[0], Eager(), CPU) > 1e-3


class TestMemory:
    def test_the_estimate_is_what_is_saved(self):
        supernet, _ = build("all")
        for is_lean in (False, True):
            supernet.use(Eager(), CPU, is_lean=is_lean)
            kept = {}
            own = {p.untyped_storage().data_ptr() for p in supernet.parameters()}

            def keep(x, kept=kept, own=own):
                if x.untyped_storage().data_ptr() not in own:
                    kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
                return x

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                out = supernet(torch.zeros(12, 2, 16, 16, dtype=torch.float64))
            assert out.requires_grad
            estimate = estimate_peak_mib(supernet, (12, 2, 16, 16))
            assert 1.1 < estimate / (sum(kept.values()) / 2**20) < 1.5

    def test_auto_turns_lean_above_the_budget(self, caplog):
        supernet, _ = build("all")
        with caplog.at_level(logging.INFO):
            assert place(supernet, SearchConfig(memory_budget_mib=1e5), CPU, (64, 2, 32, 32))["memory"] == "normal"
            assert place(supernet, SearchConfig(memory_budget_mib=10.0), CPU, (64, 2, 32, 32))["memory"] == "lean"
        assert supernet.is_lean
        assert "memory lean (about" in caplog.text

    def test_a_mode_is_obeyed(self):
        supernet, _ = build("all")
        for mode in ("lean", "normal"):
            assert place(supernet, SearchConfig(memory=mode), CPU, (64, 2, 32, 32))["memory"] == mode
            assert supernet.is_lean == (mode == "lean")

    def test_lean_keeps_the_cells_inputs_alone(self):
        supernet, _ = build("all")
        supernet.use(Eager(), CPU)
        normal = estimate_peak_mib(supernet, (64, 2, 32, 32))
        supernet.is_lean = True
        assert estimate_peak_mib(supernet, (64, 2, 32, 32)) < 0.25 * normal
