"""Convolutions of one pixel with their BatchNorm by the kernels, beside the same in plain PyTorch."""

import pytest
import torch
from torch import nn

from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.ops.native import library as kernels
from darts_core.supernet.backend import Eager, Native
from darts_core.supernet.native import fitted

pytestmark = pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")

TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-3}


def block_of(kind, channels_in, channels_out, dtype=torch.float64):
    """A block with buffers that differ from a fresh module's."""
    torch.manual_seed(0)
    block = kind(channels_in, channels_out, affine=False)
    nn.init.normal_(block.bn.running_mean)
    nn.init.uniform_(block.bn.running_var, 0.5, 2.0)
    return block.to(dtype)


def run(block, compute, x, *, frozen=False):
    """Everything that a forward and a backward pass leave behind."""
    x = x.clone().requires_grad_()
    for p in block.parameters():
        p.grad = None
        p.requires_grad_(not frozen)
    out = compute(x)
    (out * torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
    gradients = {name: p.grad for name, p in block.named_parameters() if not frozen}
    return {"out": out.detach(), "x": x.grad, **gradients, **{name: value.clone() for name, value in block.named_buffers()}}


def both(kind, channels_in, channels_out, *, size, batch=3, dtype=torch.float64, rectifies=True, frozen=False):
    block = block_of(kind, channels_in, channels_out, dtype)
    state = {name: value.clone() for name, value in block.state_dict().items()}
    x = torch.randn(batch, channels_in, *size, dtype=dtype)
    expected = run(block, block if rectifies else lambda x: block.bn(block.convolve(x)), x, frozen=frozen)
    block.load_state_dict(state)
    assert block.fit.has_kernel
    assert block.fit.fits(x)
    found = run(block, lambda x: fitted(block.fit, x, rectifies=rectifies), x, frozen=frozen)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # A BatchNorm undoes the scale of a convolution that reads one channel: of its gradient, eps leaves a hundred-thousandth.
        scale = max(float(value.abs().max()), 1e-2)
        error = float((found[name].double() - value.double()).abs().max()) / scale
        assert error <= TOLERANCE[dtype], f"{name}: {error:.1e}"


@pytest.mark.parametrize("kind", [ReluConvBn, FactorizedReduce])
@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (4, 4), (8, 13), (36, 16), (48, 16), (300, 20), (17, 64)], ids=str)
def test_any_number_of_channels(kind, channels):
    both(kind, *channels, size=(6, 8))


@pytest.mark.parametrize("kind", [ReluConvBn, FactorizedReduce])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 3), (7, 4), (4, 9), (33, 31)], ids=str)
def test_any_size(kind, size):
    both(kind, 5, 6, size=size)


@pytest.mark.parametrize("kind", [ReluConvBn, FactorizedReduce])
def test_every_setting(kind):
    both(kind, 8, 8, size=(8, 8), rectifies=False)
    both(kind, 8, 8, size=(8, 8), frozen=True)
    both(kind, 48, 16, size=(16, 16), dtype=torch.float32, batch=8)


@pytest.mark.parametrize("kind", [ReluConvBn, FactorizedReduce])
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads(kind, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for batch in (1, 2, 5):
            both(kind, 6, 10, size=(6, 6), batch=batch)
    finally:
        torch.set_num_threads(before)


def test_only_asked_for_gradients_are_computed():
    block, x = block_of(ReluConvBn, 4, 4), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    fitted(block.fit, x, rectifies=True).square().sum().backward()
    assert block.conv.weight.grad is not None
    assert x.grad is None


@pytest.mark.parametrize("kind", [ReluConvBn, FactorizedReduce])
def test_the_backend_takes_it_where_it_can(kind):
    """In training, and in evaluation without gradients; never what is affine or of another precision."""
    x, native = torch.randn(2, 4, 6, 6, dtype=torch.float64), Native()
    block = block_of(kind, 4, 6)
    assert "_Fit" in type(native.preprocess(block, x).grad_fn).__name__
    block.eval()
    assert "_Fit" not in type(native.preprocess(block, x).grad_fn).__name__
    with torch.no_grad():
        found, expected = (backend.preprocess(block, x) for backend in (native, Eager()))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    affine = kind(4, 6, affine=True).double()
    assert "_Fit" not in type(native.preprocess(affine, x).grad_fn).__name__


def test_a_value_that_is_none_is_not_hidden():
    block, x = block_of(FactorizedReduce, 4, 6), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    x[0, 0, 0, 0] = float("nan")
    assert fitted(block.fit, x, rectifies=True).isnan().any()


def test_a_single_value_cannot_be_normalised():
    block = block_of(ReluConvBn, 4, 6)
    with pytest.raises(ValueError, match=r"more than one value a channel in training. Got images of \(1, 4, 1, 1\)"):
        fitted(block.fit, torch.randn(1, 4, 1, 1, dtype=torch.float64), rectifies=True)


def test_gradients_cannot_be_differentiated_again():
    block, x = block_of(ReluConvBn, 4, 6), torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(fitted(block.fit, x, rectifies=True).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_weights_of_another_width_are_refused():
    block = block_of(ReluConvBn, 4, 6)
    with pytest.raises(ValueError, match=r"maps of 5 channels in torch.float64 to 6 channels. Got \(6, 4, 1, 1\)"):
        fitted(block.fit, torch.randn(2, 5, 6, 6, dtype=torch.float64), rectifies=True)
