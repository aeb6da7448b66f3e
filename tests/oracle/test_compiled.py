"""What ``torch.compile`` makes of the edge functions; the functions themselves are in test_backends.py, among the ways."""

import logging

import pytest
import torch
import torch._inductor
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.ops.edge import EdgePlan, Step, depthwise, edge_backward, edge_forward, pointwise_grad, tap_grads
from darts_core.ops.pooled import max_backward, max_forward, mean_backward, mean_forward
from darts_core.runtime import per_shape
from darts_core.runtime.compiler import BuildError, find_compiler
from darts_core.supernet.backend import Compiled, Reference
from tests.oracle.test_backends import CPU, TOLERANCE, fresh, trajectory, worst


def has_compiler():
    try:
        find_compiler()
    except BuildError:
        return False
    return True


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler, so nothing can be compiled")
class TestCompiled:
    """Small, for each function takes seconds to compile: six edges of three shapes."""

    @pytest.mark.parametrize("is_lean", [False, True])
    @pytest.mark.parametrize("order", ["first", "unrolled", "exact"])
    def test_three_steps_equal_the_published_forward(self, order, is_lean):
        expected = trajectory((Reference, False), space="tiny", order=order, size=(8, 8))
        text, error = worst(trajectory((Compiled, is_lean), space="tiny", order=order, size=(8, 8)), expected)
        assert error <= TOLERANCE, text

    def test_what_is_of_one_shape_shares_its_functions(self):
        """Of edges the sum, its gradient and that of the depthwise weights; of pools of stride 1 the map and its gradient."""
        per_shape.forget()
        trajectory((Compiled, False), space="tiny", order="first", size=(8, 8))
        before = per_shape.count()
        trajectory((Compiled, False), space="tiny", order="first", size=(8, 8))
        assert per_shape.count() == before


def double(_, x):
    return [2.0 * x]


class TestPerShape:
    @pytest.fixture(autouse=True)
    def _start_afresh(self, monkeypatch):
        self.compiled = []

        def compile_(graph, _):
            self.compiled.append(graph)
            return graph

        monkeypatch.setattr(torch._inductor, "compile", compile_)
        per_shape.forget()
        yield
        per_shape.forget()

    def test_each_shape_is_compiled_once(self):
        for shape in ((4, 2), (4, 3), (4, 2)):
            (out,) = per_shape.call(double, None, [torch.ones(shape)])
            assert torch.equal(out, torch.full(shape, 2.0))
        assert len(self.compiled) == per_shape.count() == 2

    def test_a_smaller_batch_is_computed_as_it_stands(self):
        for batch in (4, 3, 5):
            assert torch.equal(per_shape.call(double, None, [torch.ones(batch, 2)])[0], torch.full((batch, 2), 2.0))
        assert len(self.compiled) == 2

    def test_the_batches_that_are_compiled_for(self):
        """Of a search, an epoch's last and smaller one is not, even where it comes first, nor is what is smaller than the largest."""
        for is_lean in (False, True):
            backend = Compiled(least_batch=4)
            backend = backend.forgetting_edges() if is_lean else backend
            assert [backend.source(torch.ones(batch, 2, 4, 4)).compiles for batch in (3, 4)] == [False, True]
        for batch in (5, 3):
            per_shape.prepare(double, None, [torch.ones(batch, 2)])
        per_shape.call(double, None, [torch.ones(4, 2)])
        assert len(self.compiled) == 2

    def test_what_is_compiled_is_used_beside_a_larger_batch(self, monkeypatch):
        """An epoch's last batch has one image more than the others, where a single one would be left."""
        used = []
        monkeypatch.setattr(torch._inductor, "compile", lambda graph, _: lambda *tensors: used.append(len(tensors[0])) or graph(*tensors))
        for batch in (4, 4, 5, 4, 3):
            assert torch.equal(per_shape.call(double, None, [torch.ones(batch, 2)])[0], torch.full((batch, 2), 2.0))
        assert used == [4, 4, 5, 4]

    def test_an_old_torch_on_a_new_python_is_named(self, monkeypatch):
        monkeypatch.setattr(per_shape.sys, "version_info", (3, 13))
        monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1"))
        with pytest.raises(BuildError, match=r"needs torch 2\.6 on Python 3\.13, and this is torch 2\.5\.1"):
            per_shape.call(double, None, [torch.ones(2)])


class TestWithoutACompiler:
    @pytest.fixture(autouse=True)
    def _start_afresh(self):
        per_shape.forget()
        yield
        per_shape.forget()

    def test_eager_takes_over_with_one_line(self, monkeypatch, caplog):
        class CompilerError(Exception):
            def __init__(self):
                super().__init__("backend='inductor' raised:\nand many frames")
                self.inner_exception = RuntimeError("\nNo working C++ compiler found\nin any place")

        def fail(*_, **__):
            raise CompilerError

        monkeypatch.setattr(torch._inductor, "compile", fail)
        with caplog.at_level(logging.WARNING):
            placed = place(fresh(), METHODS.build("darts"), SearchConfig(backend="compiled"), CPU, (6, 3, 8, 8), batches=1)
        assert placed["backend"] == "eager"
        assert "backend eager, for compiled cannot be had: torch.compile failed: No working C++ compiler found (self-check" in caplog.text


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (1, 5)])
@pytest.mark.parametrize(("kind", "forward", "backward"), [("max", max_forward, max_backward), ("mean", mean_forward, mean_backward)])
def test_a_pool_is_the_library_s(kind, forward, backward, size):
    x = torch.randn(3, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).round(decimals=1).requires_grad_()
    pooled = F.max_pool2d(x, 3, 1, 1) if kind == "max" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    expected = F.batch_norm(pooled, None, None, training=True)
    grad = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = forward(1e-5, x.detach())
    torch.testing.assert_close(found[0], expected.detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(backward(1e-5, grad, *found), torch.autograd.grad(expected, x, grad)[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)])
def test_the_gradient_of_an_edge(kernel, dilation, stride):
    """Beside automatic differentiation of the forward function, odd sizes."""
    step = Step(kernel, stride, dilation * (kernel // 2), dilation, 1e-5)
    plan = EdgePlan(((step, Step(kernel, 1, kernel // 2, 1, 1e-5)), (step,)), 1)
    generator = torch.Generator().manual_seed(kernel)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    state = draw(3, 2, 9, 8)
    heads = [F.relu(state.detach())[:, :, ::grid, ::grid].requires_grad_() for grid in plan.grids]
    weights, maps = draw(3), [draw(*F.max_pool2d(state, 3, stride, 1).shape)]
    convs = [part for each in plan.steps for part in (draw(2, 1, each.kernel, each.kernel), draw(2, 2, 1, 1))]
    out, moments, b = edge_forward(plan, heads, maps, weights, convs)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    expected = torch.autograd.grad(out, [*heads, *maps, weights, *convs], grad)
    with torch.no_grad():
        found = edge_backward(plan, grad, heads, maps, b, weights, moments, convs)
        read = [heads[head] if (head := plan.head(n)) is not None else found.inner[0] for n in range(3)]
        grad_convs = []
        for n, each in enumerate(plan.steps):
            a = depthwise(read[n], convs[2 * n], each)
            grad_convs += [tap_grads(each, found.a[n], read[n]), pointwise_grad(found.b[n], a, convs[2 * n + 1])]
    for own, wanted in zip([*found.heads, *found.maps, found.weights, *grad_convs], expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-9, atol=1e-10)
