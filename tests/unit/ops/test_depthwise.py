"""The rewritten backward pass beside ``nn.Conv2d``, in float64."""

import itertools

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from darts_core.ops.depthwise import DepthwiseConv2d

CHANNELS = 2
GEOMETRIES = list(itertools.product((3, 5, 7), (1, 2), (1, 2)))  # kernel, stride, dilation


def pair(kernel, *, stride, dilation, padding=None, dtype=torch.float64):
    padding = dilation * (kernel // 2) if padding is None else padding
    torch.manual_seed(0)
    ours = DepthwiseConv2d(CHANNELS, kernel, stride=stride, padding=padding, dilation=dilation).to(dtype)
    theirs = nn.Conv2d(
        CHANNELS, CHANNELS, kernel, stride=stride, padding=padding, dilation=dilation, groups=CHANNELS, bias=False, dtype=dtype
    )
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def passes(conv, x, v, u):
    """Output, gradients of a weighted sum of it, and gradients of a weighted sum of those."""
    x = x.clone().requires_grad_()
    v = v.clone().requires_grad_()
    out = conv(x)
    first = torch.autograd.grad((out * v).sum(), [x, conv.weight], create_graph=True)
    second = torch.autograd.grad(sum((g * w).sum() for g, w in zip(first, u)), [x, conv.weight, v])
    return [out, *first, *second]


def assert_equal(ours, theirs, shape, *, rtol=1e-11):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=ours.weight.dtype)

    x = draw(3, CHANNELS, *shape)
    v = draw(*theirs(x).shape)
    u = draw(*x.shape), draw(*ours.weight.shape)
    names = ("output", "input gradient", "weight gradient", "second: input", "second: weight", "second: output weights")
    for name, a, b in zip(names, passes(ours, x, v, u), passes(theirs, x, v, u), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol, msg=lambda text, name=name: f"{name}, {shape}: {text}")


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
def test_equals_the_library_at_every_size(kernel, stride, dilation):
    ours, theirs = pair(kernel, stride=stride, dilation=dilation)
    for size in range(1, 10):
        assert_equal(ours, theirs, (size, size))
    for shape in ((1, 6), (7, 2), (8, 9), (11, 12), (14, 15), (14, 14), (16, 16)):  # the last four: pairs of columns, or four grids
        assert_equal(ours, theirs, shape)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("padding", [0, 1, 2, 6, 9])
def test_equals_the_library_with_any_padding(kernel, stride, dilation, padding):
    """No padding, an odd one, halves that are odd, and one beyond the kernel's reach take other branches."""
    ours, theirs = pair(kernel, stride=stride, dilation=dilation, padding=padding)
    for size in (13, 14, 16):
        assert_equal(ours, theirs, (size, size))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
def test_first_and_second_derivatives_against_finite_differences(kernel, stride, dilation):
    ours, _ = pair(kernel, stride=stride, dilation=dilation)

    def convolution(x, weight):
        return torch.func.functional_call(ours, {"weight": weight}, (x,))

    for size in range(1, 10):
        generator = torch.Generator().manual_seed(size)
        x = torch.randn(2, CHANNELS, size, size, dtype=torch.float64, generator=generator, requires_grad=True)
        weight = ours.weight.detach().clone().requires_grad_()
        assert gradcheck(convolution, (x, weight), fast_mode=True)
        assert gradgradcheck(convolution, (x, weight), fast_mode=True)


@pytest.mark.parametrize("width", [9, 12])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
def test_channels_last_in_float32(kernel, stride, dilation, width):
    ours, theirs = pair(kernel, stride=stride, dilation=dilation, dtype=torch.float32)
    x = torch.randn(4, CHANNELS, 10, width, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    ours, theirs = ours.to(memory_format=torch.channels_last), theirs.to(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(x), theirs(x))
    for conv in (ours, theirs):
        conv(x).pow(3).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", ["input", "weight"])
def test_only_the_gradient_that_is_wanted(wanted):
    ours, theirs = pair(5, stride=1, dilation=2)
    x = torch.randn(2, CHANNELS, 6, 6, dtype=torch.float64)
    grads = []
    for conv in (ours, theirs):
        own = x.clone().requires_grad_(wanted == "input")
        conv.weight.requires_grad_(wanted == "weight")
        conv(own).pow(2).sum().backward()
        grads.append(own.grad if wanted == "input" else conv.weight.grad)
        assert (own.grad is None) == (wanted == "weight")
        assert (conv.weight.grad is None) == (wanted == "input")
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (5, 1, 2), (3, 2, 1), (5, 2, 2)])
def test_trains_under_autocast(kernel, stride, dilation, dtype):
    """The forward pass then computes in another type than the weights have, and the backward pass runs outside autocast."""
    ours, theirs = pair(kernel, stride=stride, dilation=dilation, dtype=torch.float32)
    x = torch.randn(2, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    grads = []
    for conv in (ours, theirs):
        x.grad = None
        with torch.autocast("cpu", dtype=dtype):
            out = conv(x)
        assert out.dtype == dtype
        out.float().pow(2).sum().backward()
        assert x.grad.dtype == conv.weight.grad.dtype == torch.float32
        grads.append((x.grad, conv.weight.grad))
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05 * float(b.abs().max()))


def test_is_the_librarys_own_where_no_gradient_is_needed(monkeypatch):
    ours, theirs = pair(3, stride=1, dilation=1)
    x = torch.randn(1, CHANNELS, 5, 5, dtype=torch.float64)
    monkeypatch.setattr("darts_core.ops.depthwise._Depthwise", None)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_the_state_dict_is_the_librarys():
    ours, theirs = pair(3, stride=2, dilation=2)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }
