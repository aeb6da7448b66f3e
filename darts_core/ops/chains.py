"""Chains of blocks (depthwise, pointwise, BatchNorm, with ReLU between them) by the library's kernels, and their gradients.

Pure functions, for the CPU and maps in channels last; :mod:`darts_core.ops.edge` writes the same for a compiler. Kept for the gradient is
what BatchNorms and ReLUs return or read; what depthwise convolutions return is computed again, in less time than memory takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.ops.depthwise import input_grad, weight_grad
from darts_core.ops.edge import Step, depthwise

Buffers = tuple[Tensor, Tensor, float]
"""Of a BatchNorm the running mean and variance, (C,) each, and its momentum."""


class Conv(NamedTuple):
    """A block's depthwise (C, 1, K, K) and pointwise (C, C, 1, 1) weights."""

    deep: Tensor
    point: Tensor


class Kept(NamedTuple):
    """Of a block: what its BatchNorm read (B, C, H, W), its mean and one over its deviation (C,); ``read``, the block's own rectified
    input, where it is not the chain's.
    """

    x: Tensor
    mean: Tensor
    factor: Tensor
    read: Tensor | None


class ChainGrads(NamedTuple):
    """Gradients of a chain's input (B, C, H, W), of its scale (C,), and of its convolutions by twos, if they are wanted."""

    head: Tensor
    scale: Tensor
    convs: list[Tensor]


def chain_forward(
    steps: Sequence[Step], head: Tensor, convs: Sequence[Conv], scale: Tensor, buffers: Sequence[Buffers] | None
) -> tuple[Tensor, list[Kept]]:
    """Return what a chain makes of a rectified state (B, C, H, W), each channel times its ``scale``, and what the gradient needs.

    BatchNorms use the batch's moments and move their ``buffers``, where there are any.
    """
    kept: list[Kept] = []
    out, read = head, None
    for n, (step, conv) in enumerate(zip(steps, convs)):
        x = _laid_out(F.conv2d(depthwise(head if read is None else read, conv.deep, step), conv.point))
        mean, variance, momentum = (None, None, 0.0) if buffers is None else buffers[n]
        is_last = n == len(steps) - 1
        out, of_mean, factor = torch.native_batch_norm(x, scale if is_last else None, None, mean, variance, True, momentum, step.eps)
        kept.append(Kept(x, of_mean, factor, read))
        if not is_last:
            read = out.relu_()
    return out, kept


def chain_backward(
    steps: Sequence[Step], head: Tensor, convs: Sequence[Conv], scale: Tensor, kept: Sequence[Kept], grad: Tensor, *, wants: bool
) -> ChainGrads:
    """Return the gradients from that of what :func:`chain_forward` returned; with ``wants`` those of the convolutions, too."""
    grads: list[Tensor] = []
    grad_scale = scale
    for n in range(len(steps) - 1, -1, -1):
        step, conv, (x, mean, factor, read) = steps[n], convs[n], kept[n]
        is_last = n == len(steps) - 1
        grad_x, of_scale, _ = torch.ops.aten.native_batch_norm_backward(
            grad, x, scale if is_last else None, None, None, mean, factor, True, step.eps, [True, is_last, False]
        )
        grad_scale = of_scale if is_last else grad_scale
        own = head if read is None else read
        a = depthwise(own, conv.deep, step) if wants else x  # else the shape alone counts
        grad_a, of_point, _ = torch.ops.aten.convolution_backward(
            grad_x, a, conv.point, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, wants, False]
        )
        if wants:
            grads = [weight_grad(grad_a, own, conv.deep, *step.geometry), of_point, *grads]
        grad = _laid_out(input_grad(grad_a, own, conv.deep, *step.geometry))
        if read is not None:
            grad = torch.ops.aten.threshold_backward(grad, read, 0.0)
    return ChainGrads(grad, grad_scale, grads)


def _laid_out(x: Tensor) -> Tensor:
    """Return the map in channels last; float64, and maps of one pixel, do not always come so from the library."""
    return x.contiguous(memory_format=torch.channels_last)
