"""Convolutional candidates, and the two blocks that fit a cell's inputs to its width (quark0/darts, cnn/operations.py)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops import OPS
from darts_core.ops.depthwise import DepthwiseConv2d
from darts_core.ops.layout import concatenate, subsample
from darts_core.ops.native.block import Block
from darts_core.ops.native.chain import Chain
from darts_core.ops.native.fit import Fit


class ReluFirst(nn.Module):
    """ReLU, convolutions, BatchNorm: the shape of every block here. A subclass has a ``bn`` and says what is convolved.

    With ``uses_kernels`` what the kernels know is computed by them.
    """

    bn: nn.BatchNorm2d
    uses_kernels = False

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The BatchNorm that ends the block."""
        return self.bn

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The block as depthwise, pointwise, BatchNorm, each after a ReLU, where that is what it is; else nothing."""
        return ()

    @property
    def fit(self) -> Fit | None:
        """The block as convolutions of one pixel side by side, where that is what it is."""
        return None

    def convolve(self, x: Tensor) -> Tensor:
        """Map the block's rectified input to what ``last_bn`` takes."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        if self.uses_kernels and (chain := Chain(self.blocks)).has_kernel and chain.suits(x):
            return chain(x)
        return self.last_bn(self.convolve(F.relu(x)))


class ReluConvBn(ReluFirst):
    """ReLU, 1x1 convolution, BatchNorm: (B, C_in, H, W) -> (B, C_out, H, W). Fits a cell's input to the cell's width."""

    def __init__(self, channels_in: int, channels_out: int, *, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, affine=affine)

    @property
    def fit(self) -> Fit | None:
        """The one convolution, of all pixels."""
        return Fit((self.conv,), (0,), 1, self.bn)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.conv(x)


class NormalConv(ReluFirst):
    """ReLU, full convolution, BatchNorm: (B, C, H, W) -> (B, C, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, affine: bool) -> None:
        super().__init__()
        self.picked = stride if kernel == 1 else 1  # the pixels are picked first, for the reason that FactorizedReduce gives
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride=stride // self.picked, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, affine=affine)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.conv(x if self.picked == 1 else subsample(x, self.picked))


class FactorizedReduce(ReluFirst):
    """Halve the resolution by two 1x1 convolutions, of the even and of the odd pixels: (B, C_in, H, W) -> (B, C_out, ceil(H/2), ceil(W/2)).

    An odd height or width is padded with one zero row or column, which the reference cannot do; even ones give its numbers. The pixels are
    picked before they are convolved: a strided 1x1 convolution of channels-last images to fewer than four channels writes outside its
    memory in the CPU library of torch 2.14.1.
    """

    def __init__(self, channels_in: int, channels_out: int, *, affine: bool) -> None:
        super().__init__()
        half = channels_out // 2
        self.conv1 = nn.Conv2d(channels_in, half, 1, bias=False) if half else None
        self.conv2 = nn.Conv2d(channels_in, channels_out - half, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, affine=affine)

    @property
    def fit(self) -> Fit | None:
        """Both convolutions, of the even and of the odd pixels."""
        return Fit((self.conv2,), (1,), 2, self.bn) if self.conv1 is None else Fit((self.conv1, self.conv2), (0, 1), 2, self.bn)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, width % 2, 0, height % 2)) if width % 2 or height % 2 else x
        return self.convolve_grids(subsample(x, 2), subsample(padded, 2, start=1))

    def convolve_grids(self, even: Tensor, odd: Tensor) -> Tensor:
        """Map the even and the odd pixels of the rectified input to what ``last_bn`` takes."""
        out = self.conv2(odd)
        return out if self.conv1 is None else concatenate([self.conv1(even), out])


class SeparableConv(ReluFirst):
    """ReLU, depthwise, pointwise, BatchNorm, twice; only the first depthwise convolution is strided."""

    def __init__(self, channels: int, kernel: int, *, stride: int, affine: bool) -> None:
        super().__init__()
        padding = kernel // 2
        self.dw1 = DepthwiseConv2d(channels, kernel, stride=stride, padding=padding)
        self.pw1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, affine=affine)
        self.dw2 = DepthwiseConv2d(channels, kernel, padding=padding)
        self.pw2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, affine=affine)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Both halves."""
        return Block(self.dw1, self.pw1, self.bn1), Block(self.dw2, self.pw2, self.bn2)

    @property
    def last_bn(self) -> nn.BatchNorm2d:
        """The BatchNorm that ends the block."""
        return self.bn2

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.pw2(self.dw2(F.relu(self.bn1(self.pw1(self.dw1(x))))))


class DilatedConv(ReluFirst):
    """ReLU, depthwise with dilation 2, pointwise, BatchNorm."""

    def __init__(self, channels: int, kernel: int, *, stride: int, affine: bool) -> None:
        super().__init__()
        self.dw = DepthwiseConv2d(channels, kernel, stride=stride, padding=kernel - 1, dilation=2)
        self.pw = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The one that it is."""
        return (Block(self.dw, self.pw, self.bn),)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.pw(self.dw(x))


class FactorizedConv(ReluFirst):
    """ReLU, 1xK convolution, Kx1 convolution, BatchNorm: with K = 7 the wide kernel of AmoebaNet's cell."""

    def __init__(self, channels: int, kernel: int, *, stride: int, affine: bool) -> None:
        super().__init__()
        reach = kernel // 2
        self.across = nn.Conv2d(channels, channels, (1, kernel), stride=(1, stride), padding=(0, reach), bias=False)
        self.down = nn.Conv2d(channels, channels, (kernel, 1), stride=(stride, 1), padding=(reach, 0), bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.down(self.across(x))


class BareDepthwise(ReluFirst):
    """ReLU, depthwise convolution, BatchNorm: channels do not mix."""

    def __init__(self, channels: int, kernel: int, *, stride: int, affine: bool) -> None:
        super().__init__()
        self.dw = DepthwiseConv2d(channels, kernel, stride=stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.dw(x)


@OPS.register("sep_conv_3x3")
def sep_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Separable 3x3 convolution, applied twice."""
    return SeparableConv(channels, 3, stride=stride, affine=affine)


@OPS.register("sep_conv_5x5")
def sep_conv_5x5(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Separable 5x5 convolution, applied twice."""
    return SeparableConv(channels, 5, stride=stride, affine=affine)


@OPS.register("sep_conv_7x7")
def sep_conv_7x7(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Separable 7x7 convolution, applied twice."""
    return SeparableConv(channels, 7, stride=stride, affine=affine)


@OPS.register("dil_conv_3x3")
def dil_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Dilated separable 3x3 convolution, 5x5 field of view."""
    return DilatedConv(channels, 3, stride=stride, affine=affine)


@OPS.register("dil_conv_5x5")
def dil_conv_5x5(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Dilated separable 5x5 convolution, 9x9 field of view."""
    return DilatedConv(channels, 5, stride=stride, affine=affine)


@OPS.register("nor_conv_1x1")
def nor_conv_1x1(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 1x1 convolution."""
    return NormalConv(channels, channels, 1, stride=stride, affine=affine)


@OPS.register("nor_conv_3x3")
def nor_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 3x3 convolution."""
    return NormalConv(channels, channels, 3, stride=stride, affine=affine)


@OPS.register("conv_7x1_1x7")
def conv_7x1_1x7(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 1x7 convolution followed by 7x1."""
    return FactorizedConv(channels, 7, stride=stride, affine=affine)


@OPS.register("conv_1x1")
def conv_1x1(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 1x1 convolution, as nor_conv_1x1."""
    return NormalConv(channels, channels, 1, stride=stride, affine=affine)


@OPS.register("conv_3x3")
def conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 3x3 convolution, as nor_conv_3x3."""
    return NormalConv(channels, channels, 3, stride=stride, affine=affine)


@OPS.register("conv_5x5")
def conv_5x5(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 5x5 convolution."""
    return NormalConv(channels, channels, 5, stride=stride, affine=affine)


@OPS.register("depthwise_conv_3x3")
def depthwise_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Depthwise 3x3 convolution alone."""
    return BareDepthwise(channels, 3, stride=stride, affine=affine)


@OPS.register("conv_1x3_3x1")
def conv_1x3_3x1(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Full 1x3 convolution followed by 3x1."""
    return FactorizedConv(channels, 3, stride=stride, affine=affine)
