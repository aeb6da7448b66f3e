"""The weighted sum of an edge's candidates and its gradient: pure functions that a compiler can take in whole.

Candidates are chains of blocks (ReLU, depthwise, pointwise, BatchNorm: :class:`darts_core.ops.native.block.Block`) and maps that are there
already. Of the forward pass the gradient needs the arguments, what the BatchNorms read, and their moments; the rest it computes again.
Blocks are worked off side by side, not chain by chain: what is to be fused then stands together. The gradients of the convolutions'
weights are functions of their own: a compiler that gets them together with the rest fuses too much, and makes them four times as slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.ops.depthwise import input_grad, weight_grad
from darts_core.ops.normalise import moments_of, normalised, pixel_sum, through_bn


@dataclass(frozen=True)
class Step:
    """A block's depthwise convolution, square, and the epsilon of its BatchNorm."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    eps: float

    @property
    def grid(self) -> int:
        """The stride of the grid that all taps fall on: the convolution is one of that grid with stride and dilation 1."""
        return self.stride if self.stride == self.dilation and self.padding % self.stride == 0 else 1

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Stride, padding and dilation on that grid."""
        return (self.stride, self.padding, self.dilation) if self.grid == 1 else (1, self.padding // self.grid, 1)


@dataclass(frozen=True)
class EdgePlan:
    """What an edge adds up: chains of blocks, then ``maps`` given maps."""

    chains: tuple[tuple[Step, ...], ...]
    maps: int

    @property
    def steps(self) -> list[Step]:
        """All blocks, chain by chain; a block's number is its place here."""
        return [step for chain in self.chains for step in chain]

    @property
    def grids(self) -> list[int]:
        """The grids of the rectified state that the chains read, in order."""
        return sorted({chain[0].grid for chain in self.chains})

    def at(self, place: int) -> list[int]:
        """Return the number of the block that is ``place`` from the start, or, if negative, from the end of each chain that is as long."""
        found, start = [], 0
        for chain in self.chains:
            if -len(chain) <= place < len(chain):
                found.append(start + place % len(chain))
            start += len(chain)
        return found

    def head(self, number: int) -> int | None:
        """Return the place in ``grids`` of what a block reads, None if it reads another block."""
        return self.grids.index(self.steps[number].grid) if number in self.at(0) else None

    @property
    def depth(self) -> int:
        """The number of blocks of the longest chain."""
        return max(len(chain) for chain in self.chains)


class EdgeGrads(NamedTuple):
    """What :func:`edge_backward` returns: gradients of heads, weights and maps, and by block what its convolutions' own are made of."""

    heads: list[Tensor]
    weights: Tensor
    maps: list[Tensor]
    inner: list[Tensor]
    """What the blocks behind others read, (B, C, H', W'), in the order of their numbers."""
    a: list[Tensor]
    """By block, the gradient of its depthwise convolution's output (B, H', W', C)."""
    b: list[Tensor]
    """By block, the gradient of its pointwise convolution's output (B, H', W', C)."""


def edge_forward(
    plan: EdgePlan, heads: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor, convs: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the edge's sum (B, C, H', W'), the blocks' means and biased variances (2, blocks, C), and what their BatchNorms read.

    ``heads`` are the rectified state (B, C, H, W) on each of the plan's grids; ``weights`` (terms,) weigh chains and maps; ``convs`` are
    the depthwise (C, 1, K, K) and the pointwise (C, C, 1, 1) weights of each block in turn; ``maps`` have the sum's shape.
    """
    count = len(plan.steps)
    b, xhat, moments = ([heads[0]] * count for _ in range(3))
    for place in range(plan.depth):
        numbers = plan.at(place)
        a = {}
        for n in numbers:
            head = plan.head(n)
            h = heads[head] if head is not None else F.relu(xhat[n - 1]).permute(0, 3, 1, 2)
            a[n] = depthwise(h, convs[2 * n], plan.steps[n])
        for n in numbers:
            b[n] = F.linear(a[n].permute(0, 2, 3, 1), convs[2 * n + 1].flatten(1))
        for n in numbers:
            moments[n] = moments_of(b[n])
        for n in numbers:
            xhat[n] = normalised(b[n], moments[n], plan.steps[n].eps)
    terms = [*(xhat[n] for n in plan.at(-1)), *(x.permute(0, 2, 3, 1) for x in maps)]
    out = _sum([term * weight for term, weight in zip(terms, weights.unbind())])
    return out.permute(0, 3, 1, 2), torch.stack(moments, dim=1), b


def edge_backward(
    plan: EdgePlan,
    grad: Tensor,
    heads: Sequence[Tensor],
    maps: Sequence[Tensor],
    b: Sequence[Tensor],
    weights: Tensor,
    moments: Tensor,
    convs: Sequence[Tensor],
) -> EdgeGrads:
    """Return the gradients from that of the sum; ``moments`` and ``b`` are what :func:`edge_forward` returned of its own arguments."""
    g, steps = grad.permute(0, 2, 3, 1), plan.steps
    xhat = [normalised(x, moments[:, n], steps[n].eps) for n, x in enumerate(b)]
    ends, inner = plan.at(-1), [n for n in range(len(steps)) if plan.head(n) is None]
    sum_g = pixel_sum(g)
    products = [pixel_sum(g * term) for term in (*(xhat[n] for n in ends), *(x.permute(0, 2, 3, 1) for x in maps))]
    scale = weights.unbind()
    grad_b = {n: scale[i] * through_bn(g, xhat[n], moments[1, n], steps[n].eps, sum_g, products[i]) for i, n in enumerate(ends)}
    grad_maps = [(g * scale[len(ends) + i]).permute(0, 3, 1, 2) for i in range(len(maps))]
    h = {n: F.relu(xhat[n - 1]).permute(0, 3, 1, 2) for n in inner}
    grad_a: dict[int, Tensor] = {}
    grad_heads: list[list[Tensor]] = [[] for _ in heads]
    for place in range(-1, -plan.depth - 1, -1):
        numbers = plan.at(place)
        grad_a |= {n: F.linear(grad_b[n], convs[2 * n + 1].flatten(1).t()) for n in numbers}
        for n in numbers:
            head = plan.head(n)
            read = h[n] if head is None else heads[head]
            grad_h = input_grad(grad_a[n].permute(0, 3, 1, 2), read, convs[2 * n], *steps[n].geometry)
            if head is not None:
                grad_heads[head].append(grad_h)
                continue
            gz = grad_h.permute(0, 2, 3, 1) * (xhat[n - 1] > 0)
            sums = pixel_sum(gz), pixel_sum(gz * xhat[n - 1])
            grad_b[n - 1] = through_bn(gz, xhat[n - 1], moments[1, n - 1], steps[n - 1].eps, *sums)
    return EdgeGrads(
        heads=[_sum(parts) for parts in grad_heads],
        weights=torch.stack([product.sum() for product in products]),
        maps=grad_maps,
        inner=[h[n] for n in inner],
        a=[grad_a[n] for n in range(len(steps))],
        b=[grad_b[n] for n in range(len(steps))],
    )


def depthwise(h: Tensor, weight: Tensor, step: Step) -> Tensor:
    """Return the depthwise convolution of what a block reads, (B, C, H', W')."""
    stride, padding, dilation = step.geometry
    return F.conv2d(h, weight, None, stride, padding, dilation, h.shape[1])


def pointwise_grad(grad: Tensor, a: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of pointwise weights from that of the output (B, H', W', C) and from the input (B, C, H', W')."""
    return (grad.flatten(0, 2).t() @ a.permute(0, 2, 3, 1).flatten(0, 2)).view(weight.shape)


def tap_grads(step: Step, grad: Tensor, h: Tensor) -> Tensor:
    """Return the gradient of depthwise weights (C, 1, K, K), a row of taps at a time.

    It is made of that of the output, (B, H', W', C), and of the input (B, C, H, W).
    """
    stride, padding, dilation = step.geometry
    padded = F.pad(h.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4))
    image, row, column, channel = padded.stride()
    batch, height, width, channels = grad.shape
    # A view of the rows that each row of taps falls on: (B, K, H', W + 2 padding, C).
    shape = (batch, step.kernel, height, padded.shape[2], channels)
    rows = padded.as_strided(shape, (image, row * dilation, row * stride, column, channel))
    reach = (width - 1) * stride + 1
    columns = [rows[:, :, :, j : j + reach : stride] * grad[:, None] for j in range(0, step.kernel * dilation, dilation)]
    taps = torch.stack([product.sum((2, 3)).sum(0) for product in columns])
    return taps.permute(2, 1, 0).reshape(channels, 1, step.kernel, step.kernel)


def all_tap_grads(steps: Sequence[Step], grads: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return :func:`tap_grads` of several blocks."""
    return [tap_grads(*each) for each in zip(steps, grads, inputs, strict=True)]


def library_tap_grads(step: Step, grad: Tensor, h: Tensor, weight: Tensor) -> Tensor:
    """Return what :func:`tap_grads` does, as :class:`darts_core.ops.depthwise.DepthwiseConv2d` has it."""
    return weight_grad(grad.permute(0, 3, 1, 2), h, weight, *step.geometry)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0])
