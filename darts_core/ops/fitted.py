"""Operations that begin with a 1x1 convolution, whatever sum they read: those of ENAS's macro space (arXiv:1802.03268, section 2.3)."""

from __future__ import annotations

from torch import nn

from darts_core.ops import OPS
from darts_core.ops.conv import NormalConv, ReluConvBn, SeparableConv


def _after_fit(channels: int, op: nn.Module, *, affine: bool) -> nn.Module:
    return nn.Sequential(ReluConvBn(channels, channels, affine=affine), op)


@OPS.register("fit_conv_3x3")
def fit_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then a full 3x3 one."""
    return _after_fit(channels, NormalConv(channels, channels, 3, stride=stride, affine=affine), affine=affine)


@OPS.register("fit_conv_5x5")
def fit_conv_5x5(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then a full 5x5 one."""
    return _after_fit(channels, NormalConv(channels, channels, 5, stride=stride, affine=affine), affine=affine)


@OPS.register("fit_sep_conv_3x3")
def fit_sep_conv_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then a separable 3x3 one, applied twice."""
    return _after_fit(channels, SeparableConv(channels, 3, stride=stride, affine=affine), affine=affine)


@OPS.register("fit_sep_conv_5x5")
def fit_sep_conv_5x5(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then a separable 5x5 one, applied twice."""
    return _after_fit(channels, SeparableConv(channels, 5, stride=stride, affine=affine), affine=affine)


@OPS.register("fit_max_pool_3x3")
def fit_max_pool_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then max pooling, 3x3."""
    return _after_fit(channels, nn.MaxPool2d(3, stride=stride, padding=1), affine=affine)


@OPS.register("fit_avg_pool_3x3")
def fit_avg_pool_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """1x1 convolution, then average pooling, 3x3; padding is not counted."""
    return _after_fit(channels, nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False), affine=affine)
