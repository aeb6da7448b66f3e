"""Picked pixels and joined channels beside plain indexing and ``torch.cat``."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from darts_core.ops.layout import concatenate, subsample

FORMATS = [torch.contiguous_format, torch.channels_last]


def image(*shape, memory_format=torch.contiguous_format):
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=memory_format).requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
@pytest.mark.parametrize(("stride", "start"), [(2, 0), (2, 1), (3, 2), (1, 0)])
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 3)])
def test_picked_pixels(size, stride, start, memory_format):
    x = image(2, 3, *size, memory_format=memory_format)
    expected = x[:, :, start::stride, start::stride]
    out = subsample(x, stride, start=start)
    assert torch.equal(out, expected)
    weights = torch.randn(out.shape, dtype=torch.float64)
    (ours,), (theirs,) = (torch.autograd.grad((y * weights).sum(), x) for y in (out, expected))
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=memory_format), "the gradient has the layout of the image"


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_joined_channels(memory_format):
    maps = [image(2, channels, 4, 5, memory_format=memory_format) for channels in (4, 3, 2)]
    out = concatenate(maps)
    assert torch.equal(out, torch.cat(maps, dim=1))
    gradients = torch.autograd.grad(out.square().sum(), maps)
    for x, grad in zip(maps, gradients):
        assert torch.equal(grad, 2 * x)
        assert grad.is_contiguous(memory_format=memory_format) or memory_format is torch.contiguous_format


def test_derivatives_against_finite_differences():
    x, y = image(2, 2, 5, 4), image(2, 3, 5, 4)
    for check in (gradcheck, gradgradcheck):
        assert check(lambda x: subsample(x, 2, start=1), (x,))
        assert check(lambda x, y: concatenate([x, y]).pow(3), (x, y))
