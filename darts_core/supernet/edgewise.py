"""Eager, node by node: on the CPU the chains of convolutions that lead to a node are computed in one function.

Other convolutions are computed edge by edge, so that what an edge computes can be forgotten and computed again for its gradient.
One edge at a time is computed again: the peak is not that of a whole cell. Of a state's pools, which its edges share, the normalised maps
alone are kept. Sums are taken in one order, whether edges are forgotten or not, so that memory changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from darts_core.ops.conv import ReluFirst
from darts_core.ops.edge import Step
from darts_core.ops.native.block import Block
from darts_core.supernet.candidates import Candidates, kind_of
from darts_core.supernet.node import NodePlan, node_sum
from darts_core.supernet.recompute import recomputed
from darts_core.supernet.shared import Pooled, SharedSource, apply_pool, normalise_batch, shared_total, takes_rectified, weighted_blocks
from darts_core.supernet.source import Term


@dataclass(frozen=True, eq=False)
class Convolutions:
    """A candidate with convolutions, to be computed on the source's state with the others of its edge."""

    source: EdgewiseSource
    op: ReluFirst
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Blocks:
    """A candidate that is a chain of blocks, to be computed with the node."""

    source: EdgewiseSource
    blocks: tuple[Block, ...]
    steps: tuple[Step, ...]

    @property
    def head(self) -> tuple[int, int]:
        """Which source it reads, and which grid of its pixels."""
        return id(self.source), self.steps[0].grid


class EdgewiseSource(SharedSource):
    """A state whose edges note their convolutions; with ``forgets`` little is kept of them for the backward pass.

    ``known`` remembers what operations are; without it nothing is computed node by node, and gradients can be differentiated again.
    """

    def __init__(self, x: Tensor, *, forgets: bool, known: Candidates | None = None) -> None:
        super().__init__(x)
        self.forgets = forgets
        self._known = known if torch.is_grad_enabled() else None

    def term(self, op: nn.Module, weight: Tensor) -> tuple[Tensor | None, Any]:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        if not takes_rectified(op):
            return super().term(op, weight)
        noted = None if self._known is None else self._blocks(op, self._known)
        return (None, Convolutions(self, op, weight)) if noted is None else (weight, noted)

    def _blocks(self, op: ReluFirst, known: Candidates) -> Blocks | None:
        """Return the chain that ``op`` is, if it is one whose node can be computed as a whole."""
        found = known.find_usable(op, self.x, kind_of(self.x))
        if found is None or not found.blocks or not found.blocks[0].depthwise.uses_own_backward:
            return None
        height, width = found.blocks[0].out_size((self.x.shape[2], self.x.shape[3]))
        return Blocks(self, found.blocks, found.steps) if self.x.shape[0] * height * width > 1 else None

    def pooled(self, pool: nn.MaxPool2d | nn.AvgPool2d, bn: nn.BatchNorm2d) -> Pooled:
        """Return the state pooled."""
        if not (self.forgets and torch.is_grad_enabled() and bn.training):
            return super().pooled(pool, bn)

        def compute() -> tuple[Tensor, Tensor, Tensor]:
            pooled = normalise_batch(apply_pool(pool, self.x), bn)
            return pooled.normalised, pooled.mean, pooled.variance

        return Pooled(self.x, *recomputed([], compute))


def edgewise_total(terms: Iterable[tuple[Tensor | None, Any]]) -> Tensor:
    """Return the sum of the terms: chains of blocks in one go, other convolutions edge by edge."""
    edges: dict[int, list[Convolutions]] = {}
    chains: list[tuple[Tensor, Blocks]] = []
    weighted: list[tuple[Tensor, Tensor]] = []
    fresh: list[Term] = []
    for weight, x in terms:
        if isinstance(x, Convolutions):
            edges.setdefault(id(x.source), []).append(x)
        elif weight is None:
            fresh.append((None, x))
        elif isinstance(x, Blocks):
            chains.append((weight, x))
        else:
            weighted.append((weight, x))
    joined: list[Term] = [(None, _node(chains, weighted))] if chains else []
    return shared_total([*joined, *((None, _edge(edge)) for edge in edges.values()), *fresh, *([] if chains else weighted)])


def _node(chains: Sequence[tuple[Tensor, Blocks]], maps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the weighted sum of chains and maps, (B, C, H, W)."""
    sources = {noted.head: noted.source for _, noted in chains}
    numbers = {head: number for number, head in enumerate(sources)}
    plan = NodePlan(
        tuple((numbers[noted.head], noted.steps) for _, noted in chains), len(sources), len(maps), keeps=not chains[0][1].source.forgets
    )
    heads = [source.on_grid(grid) for (_, grid), source in sources.items()]
    blocks = [block for _, noted in chains for block in noted.blocks]
    return node_sum(plan, torch.stack([weight for weight, _ in (*chains, *maps)]), heads, [x for _, x in maps], blocks)


def _edge(convolutions: Sequence[Convolutions]) -> Tensor:
    """Return the sum of an edge's convolutions, (B, C, H, W)."""
    source = convolutions[0].source
    if source.forgets and torch.is_grad_enabled():
        for each in convolutions:
            source.read_by(each.op)  # here, for other edges read it, too
        return recomputed([each.op for each in convolutions], partial(_summed, convolutions))
    return _summed(convolutions)


def _summed(convolutions: Sequence[Convolutions]) -> Tensor:
    return shared_total([(None, weighted_blocks(each.op, each.source, each.weight)) for each in convolutions])
