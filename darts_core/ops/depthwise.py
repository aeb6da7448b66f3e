"""Depthwise convolution with a backward pass that does not fall off a cliff on the CPU.

oneDNN has no good kernel for the gradients of a dilated depthwise convolution, nor for the weight gradient on fewer pixels than taps: up to
40 times the forward (torch 2.14.1). The same sums are written here as a forward convolution and as one product a tap. Results equal
``nn.Conv2d`` to rounding; double backward works. On a GPU, and where no gradient is needed, it is ``nn.Conv2d``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops.layout import subsample

_WIDEST = 3
"""Columns of the kernels that oneDNN has a good weight gradient for, whatever their rows: 5x3 takes a twelfth of 5x5 (torch 2.14.1)."""


class DepthwiseConv2d(nn.Conv2d):
    """A square depthwise convolution without bias: (B, C, H, W) -> (B, C, H', W'); the keys of its ``state_dict`` are ``nn.Conv2d``'s."""

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride=stride, padding=padding, dilation=dilation, groups=channels, bias=False)
        self.uses_own_backward = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of ``x``."""
        if not self.uses_own_backward or x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        stride, padding, dilation = self.stride[0], int(self.padding[0]), self.dilation[0]
        if stride == dilation and padding % stride == 0:
            # Every tap then falls on the same grid of pixels: a dense convolution of that grid.
            return _Depthwise.apply(subsample(x, stride) if stride > 1 else x, self.weight, 1, padding // stride, 1)
        return _Depthwise.apply(x, self.weight, stride, padding, dilation)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, dilation)
        return F.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = (saved.to(grad.dtype) for saved in ctx.saved_tensors)  # another one under autocast, which is off by now
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        grad_x = input_grad(grad, x, weight, *ctx.geometry) if wants_x else None
        grad_weight = weight_grad(grad, x, weight, *ctx.geometry) if wants_weight else None
        return grad_x, grad_weight, None, None, None


def input_grad(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """Return the gradient of the input (B, C, H, W) from that of the output; of ``x`` the shape alone counts."""
    reach = dilation * (weight.shape[-1] - 1)
    if stride == 1 and reach >= padding:
        return F.conv2d(grad, weight.flip(2, 3), None, 1, reach - padding, dilation, weight.shape[0])
    return _library_backward(grad, x, weight, (stride, padding, dilation), [True, False, False])[0]


def weight_grad(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """Return the gradient of the weights (C, 1, K, K) from that of the output."""
    if dilation == 1 and grad.shape[-2] * grad.shape[-1] >= weight.shape[-1] ** 2:
        return _dense_weight_grad(grad, x, weight, stride, padding)
    if (
        stride == 1
        and dilation == 2
        and padding % 2 == 0
        and grad.shape == x.shape
        and x.shape[-2] * x.shape[-1] >= 4 * weight.shape[-1] ** 2
    ):
        if weight.shape[-1] <= 5 and x.shape[-1] % (4 if weight.shape[-1] == 5 else 2) == 0 and x.device.type == "cpu":
            return _dilated_weight_grad(grad, x, weight, padding)
        # Pixels that a dilated kernel brings together are of one parity: four grids, each with a dense kernel.
        return _dense_weight_grad(_parities(grad), _parities(x), weight, 1, padding // 2)
    kernel, (height, width) = weight.shape[-1], grad.shape[-2:]
    x_BHWC = F.pad(x, (padding,) * 4).permute(0, 2, 3, 1)
    grad_BHWC = grad.permute(0, 2, 3, 1)
    taps = [
        (x_BHWC[:, row : row + (height - 1) * stride + 1 : stride, column : column + (width - 1) * stride + 1 : stride] * grad_BHWC).sum(
            (0, 1, 2)
        )
        for row in range(0, kernel * dilation, dilation)
        for column in range(0, kernel * dilation, dilation)
    ]
    return torch.stack(taps, dim=1).view_as(weight)


def _dense_weight_grad(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the gradient of undilated weights: of wide kernels three columns at a time, for the library has no good loop for more."""
    kernel = weight.shape[-1]
    if kernel <= _WIDEST or kernel % 2 == 0 or x.device.type != "cpu":
        return _library_backward(grad, x, weight, (stride, padding, 1), [False, True, False])[1]
    if kernel == 5 and stride == 1 and padding >= 2 and padding % 2 == x.shape[-1] % 2 == 0:
        return _five_columns(grad, x, weight, (padding, padding))
    columns: list[Tensor] = []
    for first in range(0, kernel - 1, _WIDEST - 1):  # each window begins with the last column of the one before
        beside = F.pad(x, (padding - first, padding - (kernel - _WIDEST - first)))
        part = _library_weight_grad(grad, beside, weight[..., first : first + _WIDEST], (padding, 0), stride)
        columns.append(part[..., 1:] if columns else part)
    return torch.cat(columns, dim=-1)


def _five_columns(grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return the gradient of undilated weights (C, 1, rows, 5): the inner columns at once, the outer ones as two of three of pairs.

    Nothing is padded, and so nothing copied. The columns of the images and of their ``padding`` (rows, columns) are even in number.
    """
    rows, columns = padding
    inner = _library_weight_grad(grad, x, weight[..., 1:-1], (rows, columns - 1))
    even = _both(_library_weight_grad(_pairs(grad), _pairs(x), _shaped(weight, weight.shape[2], 3), (rows, columns // 2)))
    return torch.cat([even[..., :1], inner, even[..., -1:]], dim=-1)


def _dilated_weight_grad(grad: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Return the gradient of weights (C, 1, K, K) of dilation 2: of pairs they have no dilation across; down, every other row counts."""
    kernel = weight.shape[-1]
    tall = _shaped(weight, 2 * kernel - 1, kernel)
    find = _five_columns if kernel == 5 else _library_weight_grad
    return _both(find(_pairs(grad), _pairs(x), tall, (padding, padding // 2)))[:, :, ::2].contiguous()


def _pairs(x_BCHW: Tensor) -> Tensor:
    """Return neighbours in a row as one pixel of two times the channels, (B, 2C, H, W / 2): of channels-last images a view."""
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)
    batch, height, width, channels = x_BHWC.shape
    return x_BHWC.reshape(batch, height, width // 2, 2 * channels).permute(0, 3, 1, 2)


def _shaped(weight: Tensor, rows: int, columns: int) -> Tensor:
    """Return weights for pairs, of which the shape alone counts."""
    return weight.new_zeros(2 * weight.shape[0], 1, rows, columns)


def _both(weight: Tensor) -> Tensor:
    """Return what the gradients of both neighbours' weights add up to."""
    first, second = weight.chunk(2)
    return first + second


def _library_weight_grad(grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], stride: int = 1) -> Tensor:
    out: Tensor = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, padding, [1, 1], False, [0, 0], weight.shape[0], [False, True, False]
    )[1]
    return out


def _parities(x_BCHW: Tensor) -> Tensor:
    """Return the pixels of even and odd rows and columns as images of their own: (4B, C, ceil(H/2), ceil(W/2)), zeros at odd ends."""
    height, width = x_BCHW.shape[-2:]
    padded = F.pad(x_BCHW, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x_BCHW
    split = padded.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # batch, row, parity, column, parity, channel
    return split.permute(2, 4, 0, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)


def _library_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: tuple[int, int, int], mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    stride, padding, dilation = ([value, value] for value in geometry)
    out: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], weight.shape[0], mask
    )
    return out
