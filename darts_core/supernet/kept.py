"""What is left of a cell's operations, once some have been dropped or chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from darts_core.supernet.sampled import Active, Weights


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The operations that are ``left`` on each edge, at least one; the others weigh nothing and are not computed.

    The only one left on an edge in ``chosen`` weighs 1 whatever the relaxation says, and nothing goes along one in ``cut``. With
    ``rescales`` the weights of every other edge are scaled up to what all of them summed to: a softmax becomes one over what is left.
    """

    operations: int
    left: Active
    chosen: frozenset[int] = frozenset()
    cut: frozenset[int] = frozenset()
    rescales: bool = False

    @classmethod
    def all(cls, edges: int, operations: int, *, rescales: bool = False) -> Kept:
        """Return what leaves everything as it is."""
        return cls(operations=operations, left=(tuple(range(operations)),) * edges, rescales=rescales)

    def without(self, edge: int, op: int) -> Kept:
        """Return the same without the operation ``op`` of ``edge``, where it is not the last."""
        return self._with(edge, [o for o in self.left[edge] if o != op])

    def choosing(self, edge: int, op: int) -> Kept:
        """Return the same with ``op`` alone on ``edge``, of weight 1."""
        return self._with(edge, [op], chosen={edge})

    def cutting(self, edge: int, idle: int) -> Kept:
        """Return the same without ``edge``, on which ``idle`` stands for all operations, of weight 0: the cheapest to compute."""
        return self._with(edge, [idle], cut={edge})

    def _with(self, edge: int, left: Sequence[int], chosen: Collection[int] = (), cut: Collection[int] = ()) -> Kept:
        if not left:
            raise ValueError(f"An edge keeps at least one operation. Got none for edge {edge}.")
        rows = tuple(tuple(left) if number == edge else row for number, row in enumerate(self.left))
        return replace(self, left=rows, chosen=self.chosen | frozenset(chosen), cut=self.cut | frozenset(cut))

    def mask(self) -> Tensor:
        """Return which operations are left, (E, O), on the CPU."""
        return torch.tensor([[o in row for o in range(self.operations)] for row in self.left])

    def of(self, weights: Weights) -> Weights:
        """Return what is left of ``weights``; where few operations are drawn on an edge, those of them that are left."""
        op_EO = weights.op_EO
        scale_EO, added_EO, edge_E = (each.to(op_EO) for each in self._masks)
        active = self.left if weights.active is None else tuple(map(self._drawn, range(len(self.left)), weights.active))
        if self.cut:
            edge_E = edge_E if weights.edge_E is None else weights.edge_E * edge_E
        left_EO = op_EO * scale_EO
        if self.rescales:
            left_EO = left_EO * (op_EO.sum(-1, keepdim=True) / left_EO.sum(-1, keepdim=True).clamp_min(1e-12))
        return Weights(left_EO + added_EO, active, edge_E if self.cut else weights.edge_E)

    def _drawn(self, edge: int, drawn: Sequence[int]) -> tuple[int, ...]:
        return tuple(o for o in drawn if o in self.left[edge]) or self.left[edge][:1]

    @cached_property
    def _masks(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the weights are multiplied by (E, O), what is added to them (E, O), and the same of the edges (E,)."""
        scale_EO, added_EO = torch.zeros(len(self.left), self.operations), torch.zeros(len(self.left), self.operations)
        for edge, row in enumerate(self.left):
            if edge in self.cut:
                continue
            (added_EO if edge in self.chosen else scale_EO)[edge, list(row)] = 1.0
        return scale_EO, added_EO, torch.tensor([float(edge not in self.cut) for edge in range(len(self.left))])
