"""Operations of a discrete network by the kernels, beside the same in plain PyTorch."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from darts_core.ops import OPS
from darts_core.ops.native import library as kernels
from darts_core.ops.native.chain import Chain

pytestmark = pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")

NAMES = ["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"]
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-3}


def operation(name, channels, *, stride=1, dtype=torch.float64):
    """An operation whose BatchNorms have scales of both signs, one of them zero, and buffers that differ from a fresh module's."""
    torch.manual_seed(0)
    op = OPS.get(name)(channels, stride=stride, affine=True)
    for bn in op.modules():
        if isinstance(bn, nn.BatchNorm2d):
            for tensor in (bn.weight, bn.bias, bn.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(bn.running_var, 0.5, 2.0)
            with torch.no_grad():
                bn.weight[-1] = 0.0
    return op.to(dtype)


def run(op, x, *, frozen=False):
    """Everything that a forward and a backward pass leave behind."""
    x = x.clone().requires_grad_()
    for p in op.parameters():
        p.requires_grad_(not frozen)
    out = op(x)
    (out * torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
    gradients = {name: p.grad for name, p in op.named_parameters() if not frozen}
    return {"out": out.detach(), "x": x.grad, **gradients, **dict(op.named_buffers())}


def both(name, channels, *, stride=1, size=(8, 6), batch=3, dtype=torch.float64, frozen=False):
    op = operation(name, channels, stride=stride, dtype=dtype)
    fast = copy.deepcopy(op)
    fast.uses_kernels = True
    x = torch.randn(batch, channels, *size, dtype=dtype)
    assert Chain(fast.blocks).has_kernel
    assert Chain(fast.blocks).suits(x)
    expected, found = run(op, x, frozen=frozen), run(fast, x, frozen=frozen)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        # A BatchNorm undoes the scale of the convolutions of a single channel: of their gradients, eps leaves next to nothing.
        scale = max(float(value.abs().max()), 1e-2)
        error = float((found[key].double() - value.double()).abs().max()) / scale
        assert error <= TOLERANCE[dtype], f"{key}: {error:.1e}"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_with_blocks(name, stride):
    both(name, 5, stride=stride)


@pytest.mark.parametrize("channels", [1, 4, 13, 36])
def test_any_number_of_channels(channels):
    both("sep_conv_3x3", channels)


@pytest.mark.parametrize("size", [(7, 9), (2, 3), (33, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_odd_sizes(size, stride):
    both("dil_conv_3x3", 4, stride=stride, size=size)
    both("sep_conv_5x5", 4, stride=stride, size=size)


def test_single_precision():
    both("sep_conv_3x3", 16, size=(16, 16), dtype=torch.float32)


@pytest.mark.parametrize("own_threads", [False, True])
def test_several_threads(own_threads):
    """Those of torch's OpenMP where it is found, or some of the kernels' own."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        if own_threads:
            kernels.library().use_runner(None)
        both("sep_conv_3x3", 6, batch=7)
    finally:
        torch.set_num_threads(threads)
        kernels.library().use_runner(kernels.runner())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is loaded")
def test_the_threads_of_torch_are_found():
    assert kernels.runner()


def test_frozen_weights():
    both("sep_conv_3x3", 6, frozen=True)


def test_evaluation_without_gradient_uses_the_buffers():
    op = operation("sep_conv_3x3", 6).eval()
    fast = copy.deepcopy(op)
    fast.uses_kernels = True
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert Chain(fast.blocks).suits(x)
        torch.testing.assert_close(fast(x), op(x), rtol=1e-11, atol=1e-11)
    assert all(torch.equal(value, dict(op.named_buffers())[name]) for name, value in fast.named_buffers())


def test_what_the_kernels_do_not_compute_is_left_to_torch():
    op, x = operation("sep_conv_3x3", 6, dtype=torch.float32), torch.randn(3, 6, 8, 8)
    chain = Chain(op.blocks)
    assert chain.suits(x)
    assert not chain.suits(x.double())
    assert not chain.suits(x.bfloat16())
    assert not chain.suits(x[:1, :, :1, :1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not chain.suits(x)
    with FlopCounterMode(display=False) as counter:
        op.uses_kernels = True
        op(x)
    assert counter.get_total_flops() > 0
    assert not Chain(operation("sep_conv_3x3", 6).eval().blocks).suits(x.double())  # gradients in evaluation mode
    assert not Chain(OPS.get("sep_conv_3x3")(6, stride=1, affine=False).blocks).has_kernel
    assert not Chain(OPS.get("nor_conv_3x3")(6, stride=1, affine=True).blocks).has_kernel
