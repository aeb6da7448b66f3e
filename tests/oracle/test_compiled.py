"""What ``torch.compile`` makes of the edge functions; the functions themselves are in test_backends.py, among the ways."""

import logging

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.engine.search import place
from darts_core.methods import METHODS
from darts_core.ops.edge import EdgePlan, Step, edge_backward, edge_forward
from darts_core.runtime.compiler import BuildError, find_compiler
from darts_core.supernet import compiled
from darts_core.supernet.backend import Compiled, Reference
from tests.oracle.test_backends import CPU, TOLERANCE, forget_what_is_compiled, fresh, trajectory, worst


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

    def test_edges_of_one_shape_share_their_functions(self):
        """For each shape the sum, its gradient, and its gradient beside frozen weights."""
        compiled._READY.clear()
        trajectory((Compiled, False), space="tiny", order="first", size=(8, 8))
        assert len(compiled._READY) == 9


class TestWithoutACompiler:
    @pytest.fixture(autouse=True)
    def _start_afresh(self):
        forget_what_is_compiled()
        yield
        forget_what_is_compiled()

    def test_eager_takes_over_with_one_line(self, monkeypatch, caplog):
        class CompilerError(Exception):
            def __init__(self):
                super().__init__("backend='inductor' raised:\nand many frames")
                self.inner_exception = RuntimeError("\nNo working C++ compiler found\nin any place")

        def fail(*_, **__):
            raise CompilerError

        monkeypatch.setattr(torch, "compile", fail)
        with caplog.at_level(logging.WARNING):
            placed = place(fresh(), METHODS.build("darts"), SearchConfig(backend="compiled"), CPU, (6, 3, 8, 8), batches=1)
        assert placed["backend"] == "eager"
        assert "backend eager, for compiled cannot be had: torch.compile failed: No working C++ compiler found (self-check" in caplog.text

    def test_the_limit_of_shapes_is_raised_for_the_time_of_compiling(self):
        import torch._dynamo.config as settings

        name = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"
        before = getattr(settings, name)
        with compiled._raised_limit():
            assert getattr(settings, name) > before
        assert getattr(settings, name) == before


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)])
def test_the_gradient_of_an_edge(kernel, dilation, stride):
    """Beside automatic differentiation of the forward function, odd sizes."""
    step = Step(kernel, stride, dilation * (kernel // 2), dilation, 1e-5)
    plan = EdgePlan(((step, Step(kernel, 1, kernel // 2, 1, 1e-5)), (step,)), 1, stride == 1)
    generator = torch.Generator().manual_seed(kernel)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    x = draw(3, 2, 9, 8)
    out_size = F.max_pool2d(x, 3, stride, 1).shape
    weights, maps = draw(3 + plan.has_state), [draw(*out_size)]
    convs = [part for each in plan.steps for part in (draw(2, 1, each.kernel, each.kernel), draw(2, 2, 1, 1))]
    out, moments = edge_forward(plan, x, weights, convs, maps)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    expected = torch.autograd.grad(out, [x, weights, *convs, *maps], grad)
    with torch.no_grad():
        grad_x, grad_weights, grad_convs, grad_maps = edge_backward(plan, grad, x, weights, convs, maps, moments, wants_convs=True)
        frozen = edge_backward(plan, grad, x, weights, convs, maps, moments, wants_convs=False)
    for found, wanted in zip([grad_x, grad_weights, *grad_convs, *grad_maps], expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    assert torch.equal(frozen[0], grad_x)
    assert frozen[2] == []
