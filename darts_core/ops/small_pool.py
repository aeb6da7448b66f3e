"""2x2 pools, and what works on their means at stride 2, having no stride of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops import OPS


class SmallPool(nn.Module):
    """The maximum or the mean of 2x2 pixels: (B, C, H, W) -> (B, C, ceil(H/stride), ceil(W/stride)).

    Windows that reach over the last row or column are smaller by it.
    """

    def __init__(self, *, stride: int, takes_maximum: bool) -> None:
        super().__init__()
        self.stride = stride
        self.takes_maximum = takes_maximum

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled map."""
        if self.stride == 1:  # a line repeated changes no maximum, and no mean of those that are there
            for dim in (2, 3):
                x = torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1)], dim=dim)
        pool = F.max_pool2d if self.takes_maximum else F.avg_pool2d
        out: Tensor = pool(x, 2, self.stride, ceil_mode=self.stride == 2)
        return out


def strided(op: nn.Module, *, stride: int) -> nn.Module:
    """Return ``op``, at stride 2 of the means of 2x2 pixels."""
    return op if stride == 1 else nn.Sequential(SmallPool(stride=stride, takes_maximum=False), op)


@OPS.register("max_pool_2x2")
def max_pool_2x2(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Max pooling, 2x2."""
    return SmallPool(stride=stride, takes_maximum=True)


@OPS.register("avg_pool_2x2")
def avg_pool_2x2(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Average pooling, 2x2."""
    return SmallPool(stride=stride, takes_maximum=False)
