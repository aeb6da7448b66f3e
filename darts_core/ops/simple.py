"""Candidates without weights of their own: pools, identity, zero (quark0/darts, cnn/operations.py)."""

from __future__ import annotations

from torch import Tensor, nn

from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce


class Zero(nn.Module):
    """Zeros of the output's shape: (B, C, H, W) -> (B, C, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros; unlike a product with 0, an infinite input stays out."""
        return x[:, :, :: self.stride, :: self.stride].new_zeros(()).expand_as(x[:, :, :: self.stride, :: self.stride])


@OPS.register("none")
def none(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """No connection: zero."""
    return Zero(stride=stride)


@OPS.register("skip_connect")
def skip_connect(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Identity; with stride 2 a factorized reduction."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


@OPS.register("max_pool_3x3")
def max_pool_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Max pooling, 3x3."""
    return nn.MaxPool2d(3, stride=stride, padding=1)


@OPS.register("avg_pool_3x3")
def avg_pool_3x3(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Average pooling, 3x3; padding is not counted."""
    return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
