"""Chains of blocks and their gradients beside the modules and autograd, in float64."""

import pytest
import torch
from torch import nn

from darts_core.ops import OPS
from darts_core.ops.chains import Conv, chain_backward, chain_forward
from darts_core.supernet.plan import step_of

CHANNELS = 3


def setting(name, stride, size=(6, 7)):
    torch.manual_seed(0)
    op = OPS.get(name)(CHANNELS, stride=stride, affine=False).double()
    grid = step_of(op.blocks[0]).grid
    state = torch.randn(4, CHANNELS, *size, dtype=torch.float64).relu().contiguous(memory_format=torch.channels_last)
    head = state[:, :, ::grid, ::grid].contiguous(memory_format=torch.channels_last)
    convs = [Conv(*(p.detach() for p in block.weights)) for block in op.blocks]
    return op, [step_of(block) for block in op.blocks], state, head, convs, torch.randn(CHANNELS, dtype=torch.float64)


@pytest.mark.parametrize("name", ["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"])
@pytest.mark.parametrize("stride", [1, 2])
def test_equals_the_operation(name, stride):
    op, steps, state, head, convs, scale = setting(name, stride)
    buffers = [(block.bn.running_mean.clone(), block.bn.running_var.clone(), block.bn.momentum) for block in op.blocks]
    out, kept = chain_forward(steps, head, convs, scale, buffers)
    state.requires_grad_()
    expected = op.last_bn(op.convolve(state)) * scale.view(1, -1, 1, 1)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11, check_stride=False)
    for (mean, variance, _), block in zip(buffers, op.blocks, strict=True):
        torch.testing.assert_close(mean, block.bn.running_mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(variance, block.bn.running_var, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(out)
    parameters = [p for block in op.blocks for p in block.weights]
    of_state, *of_convs = torch.autograd.grad(expected, [state, *parameters], grad)
    found = chain_backward(steps, head, convs, scale, kept, grad, wants=True)
    grid = steps[0].grid
    torch.testing.assert_close(found.head, of_state[:, :, ::grid, ::grid], rtol=1e-10, atol=1e-10, check_stride=False)
    torch.testing.assert_close(found.scale, (grad * expected / scale.view(1, -1, 1, 1)).sum((0, 2, 3)).detach(), rtol=1e-10, atol=1e-10)
    for own, theirs in zip(found.convs, of_convs, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-10, atol=1e-10, check_stride=False)


def test_without_gradients_of_the_convolutions_the_others_are_the_same():
    _, steps, _, head, convs, scale = setting("sep_conv_3x3", 1)
    out, kept = chain_forward(steps, head, convs, scale, None)
    grad = torch.randn_like(out)
    whole, part = (chain_backward(steps, head, convs, scale, kept, grad, wants=wants) for wants in (True, False))
    assert part.convs == []
    assert torch.equal(part.head, whole.head)
    assert torch.equal(part.scale, whole.scale)


def test_without_buffers_the_batch_is_used_all_the_same():
    op, steps, _, head, convs, scale = setting("dil_conv_3x3", 1)
    buffers = [(block.bn.running_mean, block.bn.running_var, block.bn.momentum) for block in op.blocks]
    assert torch.equal(chain_forward(steps, head, convs, scale, None)[0], chain_forward(steps, head, convs, scale, buffers)[0])
    assert not torch.equal(op.bn.running_mean, nn.BatchNorm2d(CHANNELS).double().running_mean)
