"""Picking pixels and joining channels with gradients in the layout of the images.

torch's own gradients are zero-filled tensors in the default layout (of a slice) and views into the joined gradient (of ``torch.cat``);
beside channels-last images either makes the steps that follow up to ten times slower on the CPU. Values are the same, and double
backward works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def subsample(x_BCHW: Tensor, stride: int, *, start: int = 0) -> Tensor:
    """Return ``x[:, :, start::stride, start::stride]``."""
    if not _needs_care(x_BCHW):
        return x_BCHW[:, :, start::stride, start::stride]
    out: Tensor = _Subsample.apply(x_BCHW, stride, start)
    return out


def concatenate(maps: Sequence[Tensor]) -> Tensor:
    """Return the maps (B, C_i, H, W) joined along the channels: (B, sum C_i, H, W)."""
    if not any(_needs_care(x) for x in maps):
        return torch.cat(list(maps), dim=1)
    out: Tensor = _Concatenate.apply(*maps)
    return out


def cut(x_BCHW: Tensor, channels: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the map in parts of so many channels each, every part in the layout of the whole."""
    layout = memory_format_of(x_BCHW)
    return tuple(part.contiguous(memory_format=layout) for part in x_BCHW.split(list(channels), dim=1))


def _needs_care(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled() and memory_format_of(x) is torch.channels_last


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return channels last where a map is in that layout and no other, else contiguous."""
    is_channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_channels_last else torch.contiguous_format


class _Subsample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int, start: int) -> Tensor:
        ctx.shape, ctx.picked = x.shape, (..., slice(start, None, stride), slice(start, None, stride))
        ctx.format = memory_format_of(x)
        return x[ctx.picked].contiguous(memory_format=ctx.format)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_x = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=ctx.format).zero_()
        grad_x[ctx.picked] = grad
        return grad_x, None, None


class _Concatenate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.channels = [x.shape[1] for x in maps]
        out = torch.cat(maps, dim=1)
        ctx.format = memory_format_of(out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.contiguous(memory_format=ctx.format) for part in grad.split(ctx.channels, dim=1))
