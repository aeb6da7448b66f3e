"""The recurrent cell, decoder and cross entropy of the kernels beside plain PyTorch: any width, precision, number of threads; bad input."""

import logging

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.engine import placing as placing_module
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.ops.native.cross_entropy import CrossEntropy
from darts_core.ops.native.linear import NativeLinear, product
from darts_core.ops.native.recurrent import NativeSteps
from darts_core.ops.recurrent_steps import RecurrentSteps, Statistics
from darts_core.runtime.compiler import BuildError
from darts_core.supernet import choice as choice_module
from darts_core.supernet.choice import LONG_JOB, Choice, choose_backend
from tests.oracle.test_recurrent_steps import CPU, build

needs_kernels = pytest.mark.skipif(not kernels.is_available(kernels.RECURRENT), reason="no C++ compiler, so no native kernels")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-4}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def inputs(*, width, nodes=3, steps=4, batch=5, dtype=torch.float64, is_masked=True, is_fixed=False):
    """Arguments of both functions, and a gradient of the outputs."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)

    edges = nodes * (nodes + 1) // 2
    given = [drawn(steps, batch, 2 * width), drawn(batch, width), drawn(width, 2 * width) / width**0.5, drawn(edges, 4)]
    mask = (drawn(batch, width) > 0).to(dtype) * 2 if is_masked else None
    bn = Statistics(drawn(width), drawn(width).square() + 0.5, 1e-5) if is_fixed else Statistics(None, None, 1e-5)
    return given, mask, bn, [drawn(width, 2 * width) / width**0.5 for _ in range(nodes)], drawn(steps, batch, width)


def everything(function, given, mask, bn, w, grad, *, frozen=()):
    """Outputs, statistics and the gradients of all that is not frozen, by number."""
    leaves = [x.clone().requires_grad_(number not in frozen) for number, x in enumerate([*given, *w])]
    outputs, mean, var = function.apply(*leaves[:4], mask, bn, *leaves[4:])
    wanted = [x for x in leaves if x.requires_grad]
    return [outputs.detach(), mean, var, *torch.autograd.grad(outputs, wanted, grad)]


def compare(found, expected, dtype):
    assert len(found) == len(expected)
    for number, (a, b) in enumerate(zip(found, expected)):
        assert float((a.double() - b.double()).abs().max()) <= TOLERANCE[dtype] * float(b.abs().max()), number


def both(*, frozen=(), **options):
    own = inputs(**options)
    expected = everything(RecurrentSteps, *inputs(**{**options, "dtype": torch.float64}), frozen=frozen)
    compare(everything(NativeSteps, *own, frozen=frozen), expected, options.get("dtype", torch.float64))


@needs_kernels
class TestSteps:
    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    @pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33])
    def test_any_width(self, width, dtype):
        both(width=width, dtype=dtype, steps=2)

    @pytest.mark.parametrize("is_masked", [True, False])
    @pytest.mark.parametrize("is_fixed", [True, False])
    @pytest.mark.parametrize("nodes", [1, 2, 5])
    def test_any_number_of_nodes(self, nodes, is_fixed, is_masked):
        both(width=6, nodes=nodes, is_fixed=is_fixed, is_masked=is_masked)

    @pytest.mark.parametrize("count", [2, 3])
    def test_any_number_of_threads(self, count, threads):
        threads(count)
        both(width=100, batch=128, steps=2)

    @pytest.mark.parametrize("frozen", [(2, 4, 5, 6), (3,), (0, 1)], ids=["weights", "alphas", "inputs"])
    def test_what_nobody_asks_for_is_left_out(self, frozen):
        both(width=5, frozen=frozen)

    def test_saturated_gates_and_large_products(self):
        given, *others = inputs(width=5)
        given[0] *= 1e3
        expected, found = (everything(function, given, *others) for function in (RecurrentSteps, NativeSteps))
        assert all(bool(x.isfinite().all()) for x in found)
        compare(found, expected, torch.float64)

    @pytest.mark.parametrize("scale", [1.0, 1e-1, 1e-2, 1e-3, 1e-6])
    def test_small_inputs_keep_their_digits(self, scale):
        """A hyperbolic tangent with an error of one unit at 1 would be off by 1 / ``scale`` of that, and the BatchNorm would show it."""
        seen = []
        for dtype in TOLERANCE:
            given, mask, bn, w, _ = inputs(width=33, batch=64, steps=1, is_masked=False, dtype=dtype)
            given[0], given[1] = (scale * given[0].double()).to(dtype), torch.zeros_like(given[1])
            seen.append([x.double() for x in NativeSteps.apply(*given, mask, bn, *w)])
        (_, _, var), (_, _, expected) = seen[1], seen[0]
        assert float((var[0, 0] / expected[0, 0] - 1).abs().max()) < 1e-6

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    def test_the_hyperbolic_tangent_is_as_precise_as_torch_s_everywhere(self, dtype):
        h = torch.cat([sign * torch.logspace(-30, 2, 6400, base=10.0, dtype=dtype) for sign in (1, -1)]).view(100, 128)
        product = torch.cat([torch.full_like(h, 40.0), h], dim=1).unsqueeze(0)  # an open gate: the first state is the tangent
        width = h.shape[1]
        bn = Statistics(torch.zeros(width, dtype=dtype), torch.ones(width, dtype=dtype), 0.0)
        gives = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=dtype)  # one node, whose product is 0: half of what comes
        w = torch.zeros(width, 2 * width, dtype=dtype)
        outputs, _, _ = NativeSteps.apply(product, torch.zeros_like(h), torch.zeros_like(w), gives, None, bn, w)
        relative = (2.0 * outputs[0].double() / h.double().tanh() - 1).abs().max()
        assert float(relative) < 8 * torch.finfo(dtype).eps

    def test_what_is_not_a_number_stays_so(self):
        given, *others = inputs(width=5)
        given[0][0, 0, 0] = float("nan")
        assert everything(NativeSteps, given, *others)[0].isnan().any()

    def test_a_graph_that_is_kept_gives_the_same_gradient_again(self):
        given, mask, bn, w, grad = inputs(width=5)
        leaves = [x.requires_grad_() for x in [*given, *w]]
        outputs, _, _ = NativeSteps.apply(*leaves[:4], mask, bn, *leaves[4:])
        once, again = (torch.autograd.grad(outputs, leaves, grad, retain_graph=True) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(once, again))


@needs_kernels
class TestLinear:
    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize(
        ("rows", "depth", "columns"), [(1, 1, 1), (5, 7, 3), (6, 320, 16), (13, 321, 17), (200, 700, 33), (191, 9, 8), (400, 650, 70)]
    )
    def test_products_of_any_shape_and_layout(self, rows, depth, columns, count, threads):
        threads(count)
        generator = torch.Generator().manual_seed(0)
        for dtype, tolerance in TOLERANCE.items():
            left = torch.randn(rows, depth, dtype=torch.float64, generator=generator)
            right = torch.randn(depth, columns, dtype=torch.float64, generator=generator)
            expected = left @ right
            for own in (left.to(dtype), left.to(dtype).t().contiguous().t()):
                found = product(own, right.to(dtype)).double()
                assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())

    @pytest.mark.parametrize("wanted", [(0, 1, 2), (0,), (1,), (2,), (0, 2)], ids=str)
    def test_outputs_and_the_gradients_that_are_asked_for(self, wanted):
        generator = torch.Generator().manual_seed(0)
        shapes = ((6, 5), (9, 5), (9,))
        given = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
        grad = torch.randn(6, 9, dtype=torch.float64, generator=generator)
        seen = []
        for function in (F.linear, NativeLinear.apply):
            leaves = [x.clone().requires_grad_(number in wanted) for number, x in enumerate(given)]
            out = function(*leaves)
            seen.append([out.detach(), *torch.autograd.grad(out, [leaves[number] for number in wanted], grad)])
        for found, expected in zip(seen[1], seen[0], strict=True):
            torch.testing.assert_close(found, expected)


@needs_kernels
class TestCrossEntropy:
    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    @pytest.mark.parametrize("classes", [1, 2, 7, 8, 16, 37, 1000])
    def test_loss_and_gradient(self, classes, dtype, threads):
        threads(2)
        generator = torch.Generator().manual_seed(0)
        logits = (5 * torch.randn(40, classes, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_()
        targets = torch.randint(classes, (40,), generator=generator)
        seen = []
        for function, x in ((F.cross_entropy, logits.double()), (CrossEntropy.apply, logits)):
            loss = function(x, targets)
            seen.append([loss.detach(), *torch.autograd.grad(3.0 * loss, logits)])
        for found, expected in zip(seen[1], seen[0]):
            torch.testing.assert_close(found.double(), expected.double(), rtol=TOLERANCE[dtype], atol=1e-2 * TOLERANCE[dtype])

    def test_large_logits(self):
        logits = torch.tensor([[1e4, 0.0, -1e4], [-1e30, -1e30, 0.0]], requires_grad=True)
        targets = torch.tensor([1, 2])
        loss = CrossEntropy.apply(logits, targets)
        torch.testing.assert_close(loss, F.cross_entropy(logits, targets))
        expected = torch.autograd.grad(F.cross_entropy(logits, targets), logits)[0]
        torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], expected)

    @pytest.mark.parametrize("place", [0, 7, 16, 36])
    def test_what_is_not_a_number_stays_so(self, place):
        logits = torch.zeros(2, 37)
        logits[1, place] = float("nan")
        assert CrossEntropy.apply(logits, torch.tensor([0, 1])).isnan()

    @pytest.mark.parametrize("target", [-1, 3])
    def test_a_target_out_of_range_is_told(self, target):
        with pytest.raises(RuntimeError, match="entropy_forward: a class out of range"):
            CrossEntropy.apply(torch.zeros(2, 3), torch.tensor([0, target]))


class TestChoice:
    @needs_kernels
    @pytest.mark.parametrize(("operations", "expected"), [(0.99 * LONG_JOB, "eager"), (LONG_JOB, "native")])
    def test_auto_takes_native_for_long_jobs_alone(self, operations, expected):
        choice = choose_backend(build("eager")[0], "auto", CPU, size=(4, 4), operations=operations)
        assert choice.backend.name == expected
        assert not choice.fell_back

    def test_the_length_of_a_job_is_that_of_all_its_windows(self, monkeypatch):
        seen = []

        def choose(supernet, wanted, device, *, size, batch, operations):
            seen.append(operations)
            return Choice(backend=choice_module.Reference(), why="")

        monkeypatch.setattr(placing_module, "choose_backend", choose)
        supernet, _ = build("eager")  # 5 units, 6 edges, 9 words
        place(supernet, METHODS.build("darts"), SearchConfig(epochs=7), CPU, (6, 4), batches=11)
        assert seen == [10.0 * (6 * 4) * 5 * ((4 + 2 * 6) * 5 + 9) * 11 * 7]

    def test_without_a_compiler_native_is_eager(self, monkeypatch, caplog):
        def fail(source):
            assert source == kernels.RECURRENT
            raise BuildError("no C++ compiler: none of c++ is on PATH")

        monkeypatch.setattr(choice_module, "library", fail)
        with caplog.at_level(logging.WARNING):
            placed = place(build("eager")[0], METHODS.build("darts"), SearchConfig(backend="native"), CPU, (6, 4), batches=1)
        assert placed["backend"] == "eager"
        assert "backend eager, for native cannot be had: no C++ compiler: none of c++ is on PATH (self-check" in caplog.text

    @needs_kernels
    def test_a_loss_that_disagrees_is_not_taken(self, monkeypatch):
        right = CrossEntropy.apply
        monkeypatch.setattr(CrossEntropy, "apply", lambda *args: 1.001 * right(*args))
        choice = choose_backend(build("eager")[0], "native", CPU, size=(4, 4))
        assert choice.backend.name == "eager"
        assert "native failed its self-check" in choice.why
