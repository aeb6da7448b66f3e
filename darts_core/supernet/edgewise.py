"""Eager, edge by edge, so that what an edge's convolutions compute can be forgotten and computed again when its gradient is needed.

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
from darts_core.supernet.recompute import recomputed
from darts_core.supernet.shared import Pooled, SharedSource, apply_pool, normalise_batch, shared_total, takes_rectified, weighted_blocks
from darts_core.supernet.source import Term


@dataclass(frozen=True, eq=False)
class Convolutions:
    """A candidate with convolutions, to be computed on the source's state with the others of its edge."""

    source: EdgewiseSource
    op: ReluFirst
    weight: Tensor


class EdgewiseSource(SharedSource):
    """A state whose edges note their convolutions; with ``forgets`` little is kept of them for the backward pass."""

    def __init__(self, x: Tensor, *, forgets: bool) -> None:
        super().__init__(x)
        self.forgets = forgets

    def term(self, op: nn.Module, weight: Tensor) -> tuple[Tensor | None, Any]:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        return (None, Convolutions(self, op, weight)) if takes_rectified(op) else super().term(op, weight)

    def pooled(self, pool: nn.MaxPool2d | nn.AvgPool2d, bn: nn.BatchNorm2d) -> Pooled:
        """Return the state pooled."""
        if not (self.forgets and torch.is_grad_enabled() and bn.training):
            return super().pooled(pool, bn)

        def compute() -> tuple[Tensor, Tensor, Tensor]:
            pooled = normalise_batch(apply_pool(pool, self.x), bn)
            return pooled.normalised, pooled.mean, pooled.variance

        return Pooled(self.x, *recomputed([], compute))


def edgewise_total(terms: Iterable[tuple[Tensor | None, Any]]) -> Tensor:
    """Return the sum of the terms, the convolutions edge by edge."""
    edges: dict[int, list[Convolutions]] = {}
    plain: list[Term] = []
    for weight, x in terms:
        if isinstance(x, Convolutions):
            edges.setdefault(id(x.source), []).append(x)
        else:
            plain.append((weight, x))
    return shared_total([*((None, _edge(edge)) for edge in edges.values()), *plain])


def _edge(convolutions: Sequence[Convolutions]) -> Tensor:
    """Return the sum of an edge's convolutions, (B, C, H, W)."""
    source = convolutions[0].source
    rectified = source.rectified  # here, for other edges read it, too
    compute = partial(_summed, convolutions, rectified)
    if source.forgets and torch.is_grad_enabled():
        return recomputed([each.op for each in convolutions], compute)
    return compute()


def _summed(convolutions: Sequence[Convolutions], rectified: Tensor) -> Tensor:
    return shared_total([(None, weighted_blocks(each.op, rectified, each.weight)) for each in convolutions])
