"""Edges by functions that ``torch.compile`` has made of :mod:`darts_core.ops.edge`: one a shape, whichever edge or cell it is.

What an edge's candidates add is noted as they are named. A node's total computes each edge that has convolutions in one function of
autograd, with weights and BatchNorm moments as arguments and results, and keeps its inputs and what its BatchNorms read. Pools of stride 1
are compiled, too, and like all pools shared by a state's edges as in :class:`darts_core.supernet.shared.SharedSource`, whose way all other
candidates go.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from darts_core.ops.conv import ReluFirst
from darts_core.ops.edge import (
    EdgeGrads,
    EdgePlan,
    all_tap_grads,
    depthwise,
    edge_backward,
    edge_forward,
    library_tap_grads,
    pointwise_grad,
)
from darts_core.ops.native.block import Block, count_batch
from darts_core.ops.pooled import max_backward, max_forward, mean_backward, mean_forward
from darts_core.runtime import per_shape
from darts_core.supernet.plan import step_of
from darts_core.supernet.recompute import recomputed
from darts_core.supernet.shared import PLAIN_POOL, Pooled, SharedSource, shared_total
from darts_core.supernet.source import Term

_LARGEST_COMPILED = 5  # a larger kernel's taps, 49 and more, take too long to compile


@dataclass(frozen=True, eq=False)
class Noted:
    """What a candidate adds: its blocks on the source's state, to be computed with the edge, or else a map that is there."""

    source: CompiledSource
    x: Tensor
    blocks: tuple[Block, ...] = ()


class CompiledSource(SharedSource):
    """A state that notes what its edges want of it; ``compiles=False`` computes the same functions as they stand."""

    def __init__(self, x: Tensor, *, compiles: bool = True) -> None:
        super().__init__(x)
        self.compiles = compiles and x.device.type != "meta"

    def term(self, op: nn.Module, weight: Tensor) -> tuple[Tensor | None, Any]:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        if isinstance(op, nn.Identity):
            return weight, Noted(self, self.x)
        if isinstance(op, ReluFirst) and type(op).forward is ReluFirst.forward and self._suits(op.blocks):
            return weight, Noted(self, self.x, op.blocks)
        own, x = super().term(op, weight)
        return own, x if own is None else Noted(self, x)

    def pooled(self, pool: nn.MaxPool2d | nn.AvgPool2d, bn: nn.BatchNorm2d) -> Pooled:
        """Return the state pooled, by a function of autograd where the pool is of stride 1 and of the usual form."""
        pixels = self.x.numel() // self.x.shape[1]
        is_plain = all(getattr(pool, name, value) == value for name, value in PLAIN_POOL.items()) and pool.stride == 1
        if not is_plain or not bn.training or pixels < 2:
            return super().pooled(pool, bn)
        if not torch.is_grad_enabled():
            return super().pooled(pool, bn)
        out, moments = _Pool.apply(isinstance(pool, nn.MaxPool2d), bn.eps, self.compiles, self.x)
        return Pooled(self.x, out, moments[0], moments[1] * (pixels / (pixels - 1)))

    def _suits(self, blocks: Sequence[Block]) -> bool:
        """Whether the edge functions compute these blocks, in training, on more than one pixel."""
        if not blocks or not torch.is_grad_enabled() or not all(block.has_kernel and block.fits(self.x) for block in blocks):
            return False
        (height, width), batch = blocks[0].out_size((self.x.shape[2], self.x.shape[3])), self.x.shape[0]
        return all(b.bn.training for b in blocks) and all(b.keeps_size for b in blocks[1:]) and batch * height * width > 1


def compiled_total(terms: Iterable[tuple[Tensor | None, Any]], *, forgets: bool = False) -> Tensor:
    """Return the sum of the terms, those of an edge with convolutions by one function.

    With ``forgets`` nothing that it computes is kept for the backward pass; it is called again there.
    """
    edges: dict[int, list[tuple[Tensor, Noted]]] = {}
    plain: list[Term] = []
    for weight, x in terms:
        if isinstance(x, Noted):
            assert weight is not None
            edges.setdefault(id(x.source), []).append((weight, x))
        else:
            plain.append((weight, x))
    sums: list[Tensor] = []
    for noted in edges.values():
        if any(x.blocks for _, x in noted):
            sums.append(_forgotten(noted) if forgets else _edge(noted))
        else:
            plain.extend((weight, x.x) for weight, x in noted)
    if sums:  # they are views: the first may not be added to in place
        plain.append((None, _total(sums) if len(sums) > 1 else sums[0].clone()))
    return shared_total(plain)


def _forgotten(noted: Sequence[tuple[Tensor, Noted]]) -> Tensor:
    """Return what one edge adds, to be computed again for its gradient."""
    source, blocks = noted[0][1].source, [block for _, x in noted for block in x.blocks]
    for grid in _plan(noted).grids:
        source.on_grid(grid)  # here, for other edges see the same pixels
    return recomputed([block.bn for block in blocks], partial(_edge, noted))


def _edge(noted: Sequence[tuple[Tensor, Noted]]) -> Tensor:
    """Return what one edge adds, (B, C, H, W), and move the buffers of its BatchNorms."""
    source = noted[0][1].source
    chains = [(weight, x.blocks) for weight, x in noted if x.blocks]
    maps = [(weight, x.x) for weight, x in noted if not x.blocks]
    blocks = [block for _, chain in chains for block in chain]
    plan = _plan(noted)
    weights = torch.stack([weight for weight, _ in (*chains, *maps)])
    heads = [source.on_grid(grid) for grid in plan.grids]
    parameters = [p for block in blocks for p in block.weights]
    out, moments = _Edge.apply(plan, source.compiles, weights, *heads, *(x for _, x in maps), *parameters)
    _move_buffers(blocks, moments, pixels=out.numel() // out.shape[1])
    edge: Tensor = out
    return edge


def _plan(noted: Sequence[tuple[Tensor, Noted]]) -> EdgePlan:
    chains = [x.blocks for _, x in noted if x.blocks]
    return EdgePlan(tuple(tuple(step_of(block) for block in chain) for chain in chains), len(noted) - len(chains))


def _total(summands: Sequence[Tensor]) -> Tensor:
    return sum(summands[1:], start=summands[0])


@torch.no_grad()
def _move_buffers(blocks: Sequence[Block], moments: Tensor, *, pixels: int) -> None:
    """Move the running statistics of the blocks' BatchNorms, in as few calls as their momenta allow."""
    unbiased = moments[1] * (pixels / (pixels - 1))
    by_momentum: dict[float, tuple[list[Tensor], list[Tensor]]] = {}
    for block, *batch in zip(blocks, moments[0].unbind(), unbiased.unbind()):
        mean, variance, momentum = block.moving
        old, new = by_momentum.setdefault(momentum, ([], []))
        # By ``data``, unseen by autograd, as F.batch_norm does: it may have saved them, though it will not read them in training.
        old += [mean.data, variance.data]
        new += batch
    for momentum, (old, new) in by_momentum.items():
        torch._foreach_lerp_(old, new, momentum)
    count_batch(blocks)


class _Edge(torch.autograd.Function):
    """The weights (terms,), then heads, maps, and the blocks' weights by twos -> the sum (B, C, H', W') and the moments."""

    @staticmethod
    def forward(ctx: Any, plan: EdgePlan, compiles: bool, weights: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.plan, ctx.compiles = plan, compiles
        heads, maps, convs = _split(plan, tensors)
        out, moments, b = _call(edge_forward, plan, [heads, maps, weights.detach(), convs], compiles=compiles)
        ctx.save_for_backward(weights, moments, *tensors, *b)
        ctx.mark_non_differentiable(moments)
        return out, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        plan: EdgePlan = ctx.plan
        weights, moments, *saved = ctx.saved_tensors
        blocks = len(plan.steps)
        heads, maps, convs = _split(plan, saved[:-blocks])
        b = [x.detach().contiguous() for x in saved[-blocks:]]  # a hook may have given back what was saved in another layout
        grads = _call(
            edge_backward, plan, [_laid_out(grad), heads, maps, b, weights.detach(), moments.detach(), convs], compiles=ctx.compiles
        )
        wants_convs = any(ctx.needs_input_grad[-len(convs) :])
        grad_convs = _conv_grads(plan, grads, heads, convs, compiles=ctx.compiles) if wants_convs else [None] * len(convs)
        return None, None, grads.weights, *grads.heads, *grads.maps, *grad_convs


class _Pool(torch.autograd.Function):
    """A state (B, C, H, W) -> its normalised pool and the moments."""

    @staticmethod
    def forward(ctx: Any, is_max: bool, eps: float, compiles: bool, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.settings = is_max, eps, compiles
        out, *others = _call(max_forward if is_max else mean_forward, eps, [_laid_out(x)], compiles=compiles)
        ctx.save_for_backward(out, *others)
        ctx.mark_non_differentiable(others[0])
        return out, others[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        is_max, eps, compiles = ctx.settings
        out, moments, *others = ctx.saved_tensors
        arguments = [_laid_out(grad), _laid_out(out), moments.detach(), *(_laid_out(x) for x in others)]
        return None, None, None, _call(max_backward if is_max else mean_backward, eps, arguments, compiles=compiles)


def _split(plan: EdgePlan, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return heads, maps and the blocks' weights, each kind in one layout, so that strides are no reason to compile again."""
    images = len(plan.grids) + plan.maps
    laid = [_laid_out(x) for x in tensors[:images]]
    return laid[: -plan.maps or images], laid[len(plan.grids) :], [x.detach().reshape(-1).view(x.shape) for x in tensors[images:]]


def _conv_grads(plan: EdgePlan, grads: EdgeGrads, heads: Sequence[Tensor], convs: Sequence[Tensor], *, compiles: bool) -> list[Tensor]:
    """Return the gradients of the blocks' weights, by twos."""
    inner = iter(grads.inner)
    inputs = [next(inner) if head is None else heads[head] for head in map(plan.head, range(len(plan.steps)))]
    small = [n for n, step in enumerate(plan.steps) if step.kernel <= _LARGEST_COMPILED]
    steps = tuple(plan.steps[n] for n in small)
    made = _call(all_tap_grads, steps, [[grads.a[n] for n in small], [inputs[n] for n in small]], compiles=compiles) if small else []
    taps = dict(zip(small, made))
    found = []
    for n, step in enumerate(plan.steps):
        h, weight, point = inputs[n], convs[2 * n], convs[2 * n + 1]
        found += [
            taps[n] if n in taps else library_tap_grads(step, grads.a[n], h, weight),
            pointwise_grad(grads.b[n], depthwise(h, weight, step), point),
        ]
    return found


def _call(function: Callable[..., Any], static: Hashable, arguments: Sequence[per_shape.Arguments], *, compiles: bool) -> Any:
    if compiles:
        return per_shape.call(function, static, arguments)
    per_shape.note(function, static, arguments)
    return function(static, *arguments)


def _laid_out(x: Tensor) -> Tensor:
    """Return a map without gradient in the layout that eager has on its device."""
    return x.detach().contiguous(memory_format=torch.channels_last if x.device.type == "cpu" else torch.contiguous_format)
