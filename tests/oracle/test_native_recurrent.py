"""The recurrent cell, and the decoder with its loss, by kernels beside plain PyTorch: any size, precision, number of threads; bad input."""

import logging

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.engine import placing as placing_module
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.metrics import label_rank
from darts_core.ops.native import library as kernels
from darts_core.ops.native.decoder import DecodedLoss
from darts_core.ops.native.recurrent import NativeSteps
from darts_core.ops.recurrent_steps import RecurrentSteps, Statistics
from darts_core.runtime.compiler import BuildError
from darts_core.supernet import choice as choice_module
from darts_core.supernet.choice import LONG_JOB, Choice, choose_backend
from tests.oracle.test_recurrent_steps import CPU, build, window

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

    @pytest.mark.parametrize("is_masked", [True, False])
    @pytest.mark.parametrize("is_fixed", [True, False])
    def test_the_eight_nodes_that_are_searched(self, is_fixed, is_masked):
        given, *others = inputs(width=6, nodes=8, is_fixed=is_fixed, is_masked=is_masked)
        given[3] = given[3].softmax(dim=-1)  # with larger weights so many nodes amplify rounding by 1e6
        compare(everything(NativeSteps, given, *others), everything(RecurrentSteps, given, *others), torch.float64)

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


def decoder(rows=6, width=5, classes=9, *, dtype=torch.float64, scale=1.0):
    """Inputs, weights, bias and targets."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, width), (classes, width), (classes,))
    given = [(scale * torch.randn(shape, dtype=torch.float64, generator=generator)).to(dtype) for shape in shapes]
    return given, torch.randint(classes, (rows,), generator=generator)


def decoded(given, targets, has_gradient=True):
    return DecodedLoss.apply(*given, targets, has_gradient)


def plainly(given, targets):
    logits = F.linear(*given)
    return F.cross_entropy(logits, targets), (label_rank(logits, targets) == 0).long()


@needs_kernels
class TestDecoder:
    def test_no_row_has_no_mean(self):
        given, targets = decoder(rows=3)
        with pytest.raises(ValueError, match=r"at least one row expected. Got inputs of shape \(0, 5\)"):
            decoded([given[0][:0], *given[1:]], targets[:0])

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize(
        ("rows", "width", "classes"),
        [
            (1, 1, 1),
            (1, 3, 2),
            (5, 7, 3),
            (6, 320, 16),
            (13, 321, 17),
            (192, 9, 8),
            (193, 4, 37),
            (400, 17, 70),
            (390, 650, 33),
            (40, 3, 1000),
        ],
    )
    def test_loss_hits_and_gradients_of_any_size(self, rows, width, classes, count, dtype, threads):
        threads(count)
        given, targets = decoder(rows, width, classes, dtype=dtype)
        leaves = [x.requires_grad_() for x in given]
        loss, found = decoded(leaves, targets)
        doubles = [x.detach().double().requires_grad_() for x in given]
        expected, hits = plainly(doubles, targets)
        torch.testing.assert_close(loss.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert torch.equal(found, hits)
        compare(torch.autograd.grad(3.0 * loss, leaves), torch.autograd.grad(3.0 * expected, doubles), dtype)

    @pytest.mark.parametrize("wanted", [(0, 1, 2), (0,), (1,), (2,), (0, 2)], ids=str)
    def test_the_gradients_that_are_asked_for(self, wanted):
        seen = []
        for function in (plainly, decoded):
            given, targets = decoder()
            leaves = [x.requires_grad_(number in wanted) for number, x in enumerate(given)]
            loss, _ = function(leaves, targets)
            seen.append(torch.autograd.grad(loss, [leaves[number] for number in wanted]))
        for found, expected in zip(seen[1], seen[0], strict=True):
            torch.testing.assert_close(found, expected)

    def test_a_graph_that_is_kept_gives_the_same_gradient_again(self):
        given, targets = decoder()
        leaves = [x.requires_grad_() for x in given]
        loss, _ = decoded(leaves, targets)
        once = torch.autograd.grad(loss, leaves, retain_graph=True)
        before = [x.clone() for x in once]
        for x in once:
            x.zero_()  # as clipping may
        assert all(torch.equal(a, b) for a, b in zip(before, torch.autograd.grad(loss, leaves)))

    def test_without_a_gradient_the_loss_is_the_same(self):
        given, targets = decoder(200)
        assert torch.equal(decoded(given, targets)[0], decoded(given, targets, has_gradient=False)[0])

    def test_any_layout(self):
        given, targets = decoder()
        turned = [x.t().contiguous().t() for x in given[:2]]
        assert torch.equal(decoded([*turned, given[2]], targets)[0], decoded(given, targets)[0])

    def test_large_logits(self):
        x = torch.eye(2, requires_grad=True)
        weight = torch.tensor([[1e4, -1e30], [0.0, -1e30], [-1e4, 0.0]])
        targets = torch.tensor([1, 2])
        loss, found = decoded([x, weight, torch.zeros(3)], targets)
        expected, hits = plainly([x, weight, torch.zeros(3)], targets)
        torch.testing.assert_close(loss, expected)
        assert torch.equal(found, hits)
        assert hits.tolist() == [0, 1]
        torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0])

    def test_of_equal_logits_the_lower_class_comes_first(self):
        weight, bias = torch.zeros(37, 2), torch.zeros(37)
        bias[[20, 30]] = 1.0
        targets = torch.tensor([0, 20, 30])
        assert decoded([torch.zeros(3, 2), weight, bias], targets)[1].tolist() == [0, 1, 0]

    @pytest.mark.parametrize("place", [0, 7, 16, 36])
    def test_what_is_not_a_number_stays_so_and_is_no_hit(self, place):
        bias = torch.zeros(37)
        bias[place] = float("nan")
        given = [torch.zeros(2, 3, requires_grad=True), torch.ones(37, 3), bias]
        loss, found = decoded(given, torch.tensor([0, 1]))
        assert loss.isnan()
        assert found.tolist() == [0, 0]
        assert torch.autograd.grad(loss, given[0])[0].isnan().all()

    @pytest.mark.parametrize("target", [-1, 3])
    def test_a_target_out_of_range_is_told(self, target):
        with pytest.raises(RuntimeError, match="decoder: a class out of range"):
            decoded([torch.zeros(2, 4), torch.zeros(3, 4), torch.zeros(3)], torch.tensor([0, target]))

    def test_the_weight_step_s_accuracy_is_that_of_the_logits(self):
        accuracies = []
        for backend in ("reference", "native"):
            _, bilevel = build(backend)
            accuracies.append([float(bilevel.weight_step(window(k, steps=40), lr=1.0).accuracy()) for k in range(3)])
        assert accuracies[0] == accuracies[1]
        assert any(accuracies[0])


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
        right = DecodedLoss.apply
        monkeypatch.setattr(DecodedLoss, "apply", lambda *args: (1.001 * right(*args)[0], None))
        choice = choose_backend(build("eager")[0], "native", CPU, size=(4, 4))
        assert choice.backend.name == "eager"
        assert "native failed its self-check" in choice.why
