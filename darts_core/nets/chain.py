"""Three stages of cells, one after the other, with residual blocks between them (NAS-Bench-201, arXiv:2001.00326, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.nets.skeleton import BlockPlan, CellPlan, Skeleton, Stem
from darts_core.ops.conv import NormalConv

STAGES = 3


class ChainStem(nn.Module):
    """3x3 convolution and BatchNorm: (B, C_in, H, W) -> (B, C, H, W), alone in a tuple."""

    def __init__(self, in_channels: int, init_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, init_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(init_channels)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the input of the first cell."""
        return (self.bn(self.conv(x)),)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first strided, beside a mean of four pixels and a 1x1 convolution.

    (B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2)). An odd side's last mean is one of fewer pixels.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv_a = NormalConv(channels_in, channels_out, 3, stride=2, affine=True)
        self.conv_b = NormalConv(channels_out, channels_out, 3, affine=True)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        h: Tensor = self.conv_b(self.conv_a(x))
        return h + self.shortcut(F.avg_pool2d(x, 2, 2, ceil_mode=True))


class ChainHead(nn.Module):
    """BatchNorm and ReLU: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is pooled for the classifier."""
        return F.relu(self.bn(x))


@dataclass(frozen=True)
class ResidualPlan:
    """A residual block between two stages."""

    channels_in: int
    channels_out: int

    def build(self) -> ResidualBlock:
        """Return it."""
        return ResidualBlock(self.channels_in, self.channels_out)


@dataclass(frozen=True)
class ChainFrame:
    """Three stages of equally many cells, each of which reads the one before it; channels double where the resolution halves."""

    def check(self, *, layers: int, stem: Stem, auxiliary: bool, section: str) -> None:
        """Raise ``ValueError`` that names the key of ``section`` where there is no such network."""
        if layers % STAGES or layers < STAGES:
            raise ValueError(f"{section}.layers must be a multiple of {STAGES}, for so many stages of equally many cells. Got {layers}.")
        if stem != "cifar":
            raise ValueError(f"{section}.stem must be cifar in a space of three stages, which has no other. Got {stem}.")
        if auxiliary:
            raise ValueError(f"{section}.auxiliary must be false in a space of three stages, which has no second classifier. Got true.")

    def build(self, *, in_channels: int, init_channels: int, layers: int, stem: Stem, width: Mapping[str, int]) -> Skeleton:
        """Return the skeleton; a cell's output is a single state."""
        plans: list[CellPlan | BlockPlan] = []
        for stage in range(STAGES):
            channels = init_channels * 2**stage
            if stage:
                plans.append(ResidualPlan(channels // 2, channels))
            cell = CellPlan(channels_in=(channels,), channels=channels, is_reduction=False, follows_reduction=False, fits_inputs=False)
            plans += [cell] * (layers // STAGES)
        return Skeleton(stem=ChainStem(in_channels, init_channels), plans=plans, head=ChainHead(channels), channels=channels)
