"""The weighted sum of an edge's candidates and its gradient: two pure functions that a compiler can take in whole.

Candidates are chains of blocks (ReLU, depthwise, pointwise, BatchNorm: :class:`darts_core.ops.native.block.Block`), maps that are there
already, and the state itself. Of the forward pass the gradient needs the arguments and the moments of the BatchNorms; the rest it computes
again. Blocks are worked off side by side, not chain by chain: what is to be fused then stands together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.ops.depthwise import input_grad, weight_grad

_LARGEST_UNROLLED = 5  # a larger kernel's taps, 49 and more, take too long to compile


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
    """What an edge adds up: chains of blocks, then ``maps`` given maps, then the state itself if ``has_state``."""

    chains: tuple[tuple[Step, ...], ...]
    maps: int
    has_state: bool

    @property
    def steps(self) -> list[Step]:
        """All blocks, chain by chain; a block's number is its place here."""
        return [step for chain in self.chains for step in chain]

    def at(self, place: int) -> list[int]:
        """Return the number of the block that is ``place`` from the start, or, if negative, from the end of each chain that is as long."""
        found, start = [], 0
        for chain in self.chains:
            if -len(chain) <= place < len(chain):
                found.append(start + place % len(chain))
            start += len(chain)
        return found

    @property
    def depth(self) -> int:
        """The number of blocks of the longest chain."""
        return max(len(chain) for chain in self.chains)


@dataclass(frozen=True)
class _Blocks:
    """By block: what the depthwise and the pointwise convolution read, the normalised output, (B, H, W, C) each, and the moments (2, C)."""

    h: list[Tensor]
    a: list[Tensor]
    xhat: list[Tensor]
    moments: list[Tensor]


def edge_forward(plan: EdgePlan, x: Tensor, weights: Tensor, convs: Sequence[Tensor], maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the edge's sum (B, C, H', W') and the blocks' means and biased variances (2, blocks, C).

    ``x`` is the state (B, C, H, W); ``weights`` (terms,) weigh chains, maps and state; ``convs`` are the depthwise (C, 1, K, K) and the
    pointwise (C, C, 1, 1) weights of each block in turn; ``maps`` have the sum's shape.
    """
    state = x.permute(0, 2, 3, 1)
    blocks = _blocks(plan, state, convs, None)
    first, *others = (term * weight for term, weight in zip(_terms(plan, blocks, state, maps), weights.unbind()))
    return sum(others, start=first).permute(0, 3, 1, 2), torch.stack(blocks.moments, dim=1)


def edge_backward(
    plan: EdgePlan,
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    convs: Sequence[Tensor],
    maps: Sequence[Tensor],
    moments: Tensor,
    *,
    wants_convs: bool,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Return the gradients of ``x``, ``weights``, ``convs`` (none unless ``wants_convs``) and ``maps`` from that of the sum.

    ``moments`` are what :func:`edge_forward` returned; the other arguments are its own.
    """
    state, g = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    blocks = _blocks(plan, state, convs, moments)
    sum_g = _pixel_sum(g)
    products = [_pixel_sum(g * term) for term in _terms(plan, blocks, state, maps)]
    scale, ends = weights.unbind(), plan.at(-1)
    gb = {n: scale[i] * _through_bn(g, blocks, n, plan, sum_g, products[i]) for i, n in enumerate(ends)}
    grad_maps = [(g * scale[len(ends) + i]).permute(0, 3, 1, 2) for i in range(len(maps))]
    grad_convs = [torch.empty(0)] * len(convs) if wants_convs else []
    heads: dict[int, list[Tensor]] = {}
    padded: dict[tuple[int, int], Tensor] = {}
    for place in range(-1, -plan.depth - 1, -1):
        ga = {n: F.linear(gb[n], convs[2 * n + 1].flatten(1).t()) for n in plan.at(place)}
        gh = {n: _input_grad(grad_a, blocks.h[n], convs[2 * n], plan.steps[n]) for n, grad_a in ga.items()}
        for n in ga if wants_convs else ():
            key = (plan.steps[n].grid if n in plan.at(0) else -n, plan.steps[n].padding)  # blocks that read the same, padded alike
            grad_convs[2 * n] = _tap_grads(ga[n], blocks.h[n], convs[2 * n], plan.steps[n], padded, key)
            # This way round the transposed one is a convolution's output, and no compiler writes it down a second time, transposed.
            grad_convs[2 * n + 1] = (blocks.a[n].flatten(0, 2).t() @ gb[n].flatten(0, 2)).t().reshape(convs[2 * n + 1].shape)
        for n, grad_h in gh.items():
            if n in plan.at(0):
                heads.setdefault(plan.steps[n].grid, []).append(grad_h)
            else:
                gz = grad_h * (blocks.xhat[n - 1] > 0)
                gb[n - 1] = _through_bn(gz, blocks, n - 1, plan, _pixel_sum(gz), _pixel_sum(gz * blocks.xhat[n - 1]))
    first, *others = (_spread(_sum(parts), state, grid) for grid, parts in heads.items())
    grad_state = sum(others, start=first) * (state > 0)
    if plan.has_state:
        grad_state = grad_state + g * scale[-1]
    return grad_state.permute(0, 3, 1, 2), torch.stack([product.sum() for product in products]), grad_convs, grad_maps


def _blocks(plan: EdgePlan, state: Tensor, convs: Sequence[Tensor], known: Tensor | None) -> _Blocks:
    """Compute all blocks, with the moments ``known`` (2, blocks, C), or else with their own."""
    steps, rectified = plan.steps, F.relu(state)
    grids = {step.grid: rectified[:, :: step.grid, :: step.grid] for step in (steps[n] for n in plan.at(0))}
    h, a, xhat, moments = ([rectified] * len(steps) for _ in range(4))
    for place in range(plan.depth):
        numbers = plan.at(place)
        for n in numbers:
            h[n] = F.relu(xhat[n - 1]) if place else grids[steps[n].grid]
        for n in numbers:
            stride, padding, dilation = steps[n].geometry
            a[n] = F.conv2d(h[n].permute(0, 3, 1, 2), convs[2 * n], None, stride, padding, dilation, h[n].shape[3]).permute(0, 2, 3, 1)
        b = {n: F.linear(a[n], convs[2 * n + 1].flatten(1)) for n in numbers}
        for n in numbers:
            moments[n] = _moments(b[n]) if known is None else known[:, n]
        for n in numbers:
            mean, variance = moments[n].unbind()
            xhat[n] = (b[n] - mean) * torch.rsqrt(variance + steps[n].eps)
    return _Blocks(h, a, xhat, moments)


def _terms(plan: EdgePlan, blocks: _Blocks, state: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return what the edge weighs, in the order of its weights."""
    return [*(blocks.xhat[n] for n in plan.at(-1)), *(x.permute(0, 2, 3, 1) for x in maps), *([state] if plan.has_state else [])]


def _pixel_sum(x_BHWC: Tensor) -> Tensor:
    """Return the sum over batch and pixels, (C,): image by image, so that a compiler keeps it in registers."""
    return x_BHWC.sum((1, 2)).sum(0)


def _moments(b_BHWC: Tensor) -> Tensor:
    """Return mean and biased variance (2, C) in one pass, about the mean of the first image, so that little cancels."""
    pixels = b_BHWC.shape[0] * b_BHWC.shape[1] * b_BHWC.shape[2]
    about = b_BHWC[0].mean((0, 1))
    shifted = b_BHWC - about
    mean, square = _pixel_sum(shifted) / pixels, _pixel_sum(shifted * shifted) / pixels
    return torch.stack([mean + about, (square - mean * mean).clamp_min(0.0)])


def _through_bn(g: Tensor, blocks: _Blocks, n: int, plan: EdgePlan, sum_g: Tensor, product: Tensor) -> Tensor:
    """Return the gradient of what BatchNorm ``n`` read from that of its output, whose sums alone and times the output are given."""
    pixels = g.shape[0] * g.shape[1] * g.shape[2]
    rstd = torch.rsqrt(blocks.moments[n][1] + plan.steps[n].eps)
    return rstd * (g - (sum_g + blocks.xhat[n] * product) / pixels)


def _input_grad(grad: Tensor, h: Tensor, weight: Tensor, step: Step) -> Tensor:
    return input_grad(grad.permute(0, 3, 1, 2), h.permute(0, 3, 1, 2), weight, *step.geometry).permute(0, 2, 3, 1)


def _tap_grads(grad: Tensor, h: Tensor, weight: Tensor, step: Step, padded: dict[tuple[int, int], Tensor], key: tuple[int, int]) -> Tensor:
    """Return the gradient of depthwise weights, tap by tap."""
    kernel, (stride, padding, dilation) = step.kernel, step.geometry
    if kernel > _LARGEST_UNROLLED:
        return weight_grad(grad.permute(0, 3, 1, 2), h.permute(0, 3, 1, 2), weight, stride, padding, dilation)
    if key not in padded:
        padded[key] = F.pad(h, (0, 0, *(padding,) * 4))
    rows, width = _rows(padded[key], grad.shape[1], step), (grad.shape[2] - 1) * stride + 1
    columns = [rows[:, :, :, j : j + width : stride] * grad[:, None] for j in range(0, kernel * dilation, dilation)]
    return torch.stack([column.sum((2, 3)).sum(0) for column in columns]).permute(2, 1, 0).reshape(weight.shape)


def _rows(padded: Tensor, height: int, step: Step) -> Tensor:
    """Return a view of the rows that each row of taps falls on: (B, K, H', W, C)."""
    stride, _, dilation = step.geometry
    image, row, column, channel = padded.stride()
    shape = (padded.shape[0], step.kernel, height, padded.shape[2], padded.shape[3])
    return padded.as_strided(shape, (image, row * dilation, row * stride, column, channel))


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0])


def _spread(grad: Tensor, state: Tensor, grid: int) -> Tensor:
    """Return a gradient of the pixels of a grid as one of all pixels of ``state``."""
    if grid == 1:
        return grad
    out = torch.zeros_like(state)
    out[:, ::grid, ::grid] = grad
    return out
