"""A node's sum as one function of autograd: the chains of blocks on all states that lead to it, and the maps that are there already.

For the CPU. Beside a function of autograd for each operation it keeps half as much, which the CPU would read and write more slowly
than it computes, and needs fewer calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from darts_core.ops.chains import Buffers, Conv, Kept, chain_backward, chain_forward
from darts_core.ops.edge import Step
from darts_core.ops.native.block import Block, count_batch


@dataclass(frozen=True)
class NodePlan:
    """What a node adds up: chains, each with the number of the head that it reads, then maps. With ``keeps`` no chain is computed again."""

    chains: tuple[tuple[int, tuple[Step, ...]], ...]
    heads: int
    maps: int
    keeps: bool

    @property
    def blocks(self) -> int:
        """The number of blocks of all chains."""
        return sum(len(steps) for _, steps in self.chains)

    def of_chains(self, values: Sequence[Any]) -> Iterator[Any]:
        """Yield what belongs to each chain of ``values``, one for each block."""
        ends = [0]
        for _, steps in self.chains:
            ends.append(ends[-1] + len(steps))
        return (values[start:end] for start, end in pairwise(ends))

    def split(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Conv]]:
        """Return heads and maps, channels last, and the convolutions of each block."""
        images = [_laid_out(x) for x in tensors[: self.heads + self.maps]]
        weights = [p.detach() for p in tensors[self.heads + self.maps :]]
        return images[: self.heads], images[self.heads :], list(map(Conv, weights[::2], weights[1::2]))

    def scales(self, weights: Tensor, channels: int) -> tuple[Tensor, ...]:
        """Return the weight of each chain for each channel, (C,)."""
        return weights.detach()[: len(self.chains), None].expand(-1, channels).contiguous().unbind()


def node_sum(plan: NodePlan, weights: Tensor, heads: Sequence[Tensor], maps: Sequence[Tensor], blocks: Sequence[Block]) -> Tensor:
    """Return the weighted sum (B, C, H, W) of chains and maps, and move the buffers of the BatchNorms.

    ``weights`` has one number for each chain, and then for each map; ``blocks`` are those of all chains.
    """
    parameters = [p for block in blocks for p in block.weights]
    out: Tensor = _Node.apply(plan, [block.moving for block in blocks], weights, *heads, *maps, *parameters)
    count_batch(blocks)
    return out


class _Node(torch.autograd.Function):
    """The weights (terms,), then heads, maps, and the blocks' weights by twos -> the sum (B, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, plan: NodePlan, buffers: Sequence[Buffers], weights: Tensor, *tensors: Tensor) -> Tensor:
        heads, maps, convs = plan.split(tensors)
        total: Tensor | None = None
        kept: list[Tensor | None] = []
        chains = zip(plan.chains, plan.scales(weights, heads[0].shape[1]), plan.of_chains(convs), plan.of_chains(buffers))
        for (head, steps), scale, own, moved in chains:
            out, found = chain_forward(steps, heads[head], own, scale, moved)
            total = out if total is None else total.add_(out)
            if plan.keeps:
                kept += [part for block in found for part in block]
        assert total is not None, "there is at least one chain"
        alphas = [1.0] * plan.maps if total.is_meta else weights[len(plan.chains) :].tolist()
        for x, weight in zip(maps, alphas):
            total.add_(x, alpha=weight)
        ctx.plan = plan
        ctx.save_for_backward(weights, *tensors, *kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        plan: NodePlan = ctx.plan
        weights, *saved = ctx.saved_tensors
        given = plan.heads + plan.maps + 2 * plan.blocks
        heads, maps, convs = plan.split(saved[:given])
        wants_convs = any(ctx.needs_input_grad[-2 * plan.blocks :])
        grad = _laid_out(grad)
        grad_heads: list[Tensor | None] = [None] * plan.heads
        grad_scales: list[Tensor] = []
        grad_convs: list[Tensor | None] = []
        chains = zip(plan.chains, plan.scales(weights, grad.shape[1]), plan.of_chains(convs), plan.of_chains(_kept(saved[given:], plan)))
        for (head, steps), scale, own, found in chains:
            kept = found if plan.keeps else chain_forward(steps, heads[head], own, scale, None)[1]
            grads = chain_backward(steps, heads[head], own, scale, kept, grad, wants=wants_convs)
            before = grad_heads[head]
            grad_heads[head] = grads.head if before is None else before.add_(grads.head)
            grad_scales.append(grads.scale)
            grad_convs += grads.convs or [None] * (2 * len(steps))
        grad_weights = torch.stack(grad_scales).sum(1)
        if maps:
            flat = _flat(grad)
            grad_weights = torch.cat([grad_weights, torch.stack([torch.dot(flat, _flat(x)) for x in maps])])
        grad_maps = [grad * weight for weight in weights.detach()[len(plan.chains) :].unbind()]
        return None, None, grad_weights, *grad_heads, *grad_maps, *grad_convs


def _kept(saved: Sequence[Any], plan: NodePlan) -> list[Kept]:
    """Return what was kept of each block; a hook may have given it back in another layout."""
    if not plan.keeps:
        return [Kept(*[torch.empty(0)] * 4)] * plan.blocks
    found = (Kept(*saved[start : start + 4]) for start in range(0, len(saved), 4))
    return [Kept(_laid_out(x), mean, factor, None if read is None else _laid_out(read)) for x, mean, factor, read in found]


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1)


def _laid_out(x: Tensor) -> Tensor:
    return x.detach().contiguous(memory_format=torch.channels_last)
