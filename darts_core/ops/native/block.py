"""A block as the kernels know it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from darts_core.ops.depthwise import DepthwiseConv2d

GEOMETRIES = {(3, 1, 1), (3, 1, 2), (3, 2, 1), (3, 2, 2), (5, 1, 1), (5, 1, 2), (5, 2, 1), (5, 2, 2), (7, 1, 1), (7, 2, 1)}
"""(kernel, stride, dilation) that there is a kernel for."""


@dataclass(frozen=True)
class Block:
    """ReLU, depthwise convolution, pointwise convolution, and the BatchNorm that follows."""

    depthwise: DepthwiseConv2d
    pointwise: nn.Conv2d
    bn: nn.BatchNorm2d
    _geometries: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """The depthwise (C, 1, K, K) and the pointwise (C, C, 1, 1) weights."""
        return self.depthwise._parameters["weight"], self.pointwise._parameters["weight"]  # type: ignore[return-value]

    @property
    def moving(self) -> tuple[Tensor, Tensor, float]:
        """The running mean and variance of its BatchNorm, (C,) each, and the momentum that they move by."""
        mean, variance, momentum = self.bn.running_mean, self.bn.running_var, self.bn.momentum
        assert mean is not None
        assert variance is not None
        assert momentum is not None
        return mean, variance, momentum

    @property
    def has_kernel(self) -> bool:
        """Whether the kernels of a cell compute this block: its BatchNorm has no affine parameters."""
        return is_plain(self.bn) and self.has_kernel_geometry

    @property
    def has_kernel_geometry(self) -> bool:
        """Whether the kernels compute these convolutions."""
        conv, point = self.depthwise, self.pointwise
        kernel, stride, padding, dilation = conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.dilation[0]
        if (kernel, stride, dilation) not in GEOMETRIES or isinstance(padding, str):
            return False
        is_square = all(len({*sides}) == 1 for sides in (conv.kernel_size, conv.stride, conv.padding, conv.dilation))
        is_padded = 0 <= padding <= dilation * (kernel - 1) and not (stride == dilation > 1 and padding % stride)
        is_pointwise = (point.kernel_size, point.stride, point.padding, point.groups) == ((1, 1), (1, 1), (0, 0), 1)
        has_zeros = {conv.padding_mode, point.padding_mode} == {"zeros"} and conv.bias is None and point.bias is None
        return is_square and is_padded and is_pointwise and has_zeros

    @property
    def keeps_size(self) -> bool:
        """Whether the output is as high and wide as the input."""
        conv = self.depthwise
        return conv.stride[0] == 1 and 2 * int(conv.padding[0]) == conv.dilation[0] * (conv.kernel_size[0] - 1)

    def fits(self, x: Tensor) -> bool:
        """Whether weights and buffers are of the precision, device and channels of ``x``."""
        channels = x.shape[1]
        shapes = (self.depthwise.weight.shape[:2], self.pointwise.weight.shape[:2], self.bn.num_features)
        return shapes == ((channels, 1), (channels, channels), channels) and is_alike(self.weights, x) and is_alike(_buffers(self.bn), x)

    def geometry(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Return kernel, stride, padding, dilation and the height and width of the output for an input of (H, W)."""
        if size not in self._geometries:
            conv = self.depthwise
            kernel, stride, padding, dilation = conv.kernel_size[0], conv.stride[0], int(conv.padding[0]), conv.dilation[0]
            sides = ((side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in size)
            self._geometries[size] = (kernel, stride, padding, dilation, *sides)
        return self._geometries[size]

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of the block's output for an input of (H, W)."""
        *_, height, width = self.geometry(size)
        return height, width


def count_batch(blocks: Iterable[Block]) -> None:
    """Have the BatchNorms of ``blocks`` count one batch more."""
    counts = [block.bn.num_batches_tracked for block in blocks]
    torch._foreach_add_([count for count in counts if count is not None], 1)


def is_plain(bn: nn.BatchNorm2d) -> bool:
    """Whether a BatchNorm has no affine parameters and an exponential mean for its buffers, as those of a supernet."""
    return not bn.affine and has_usual_buffers(bn)


def has_usual_buffers(bn: nn.BatchNorm2d) -> bool:
    """Whether a BatchNorm has buffers, and an exponential mean for them."""
    return bn.momentum is not None and bn.track_running_stats and bn.running_mean is not None and bn.running_var is not None


def is_alike(tensors: Iterable[Tensor], x: Tensor) -> bool:
    """Whether all are of the precision and on the device of ``x``."""
    return all((each.dtype, each.device) == (x.dtype, x.device) for each in tensors)


def bn_fits(bn: nn.BatchNorm2d, x: Tensor, *, channels: int | None = None) -> bool:
    """Whether a BatchNorm is of the precision and on the device of ``x``, and of its channels, or of ``channels``."""
    return bn.num_features == (channels or x.shape[1]) and is_alike(_buffers(bn), x)


def _buffers(bn: nn.BatchNorm2d) -> list[Tensor]:
    return [buffer for buffer in (bn.running_mean, bn.running_var) if buffer is not None]
