"""Operations without neighbours: normalisations, and a perceptron on each pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops import OPS
from darts_core.ops.conv import ReluFirst
from darts_core.ops.small_pool import strided


class Mlp(ReluFirst):
    """ReLU, a perceptron of one hidden layer on the channels of each pixel, BatchNorm: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, *, expansion: int, affine: bool) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, expansion * channels, 1)
        self.out = nn.Conv2d(expansion * channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def convolve(self, x: Tensor) -> Tensor:
        """Map the rectified input to what ``last_bn`` takes."""
        return self.out(F.relu(self.hidden(x)))


@OPS.register("batch_norm")
def batch_norm(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Batch normalisation alone."""
    return strided(nn.BatchNorm2d(channels, affine=affine), stride=stride)


@OPS.register("layer_norm")
def layer_norm(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Layer normalisation alone, of each image over its channels and pixels (arXiv:1607.06450)."""
    return strided(nn.GroupNorm(1, channels, affine=affine), stride=stride)


@OPS.register("mlp")
def mlp(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Perceptron on each pixel, twice as many hidden channels."""
    return strided(Mlp(channels, expansion=2, affine=affine), stride=stride)


@OPS.register("mlp_4x")
def mlp_4x(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Perceptron on each pixel, four times as many hidden channels."""
    return strided(Mlp(channels, expansion=4, affine=affine), stride=stride)
