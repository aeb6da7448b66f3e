"""Which operations each edge offers, and what follows for its alphas: an edge has one for each of its own candidates, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from darts_core.supernet.sampled import Active, Weights

EdgePrimitives = Mapping[str, Sequence[Sequence[str]]]
"""The names of the candidates of each edge, cell type by cell type; edges in the order of ``CellShape.sources``."""


@dataclass(frozen=True)
class Rows:
    """Edges that offer equally many operations, K of them: their alphas are the rows of one matrix (len(edges), K), called ``name``.

    ``ops`` are the numbers of the operations that its columns stand for, edge by edge.
    """

    name: str
    edges: tuple[int, ...]
    ops: Active


@dataclass(frozen=True)
class Offer:
    """The operations on each edge of the cells of one type, as numbers among ``primitives``, in their order.

    Where all edges offer equally many, their alphas are one matrix named after the cell type; else there is one for each number of
    operations, named ``<cell type>_<number>``. So every relaxation, penalty and optimiser sees matrices without gaps.
    """

    cell_type: str
    primitives: tuple[str, ...]
    ops: Active

    @classmethod
    def of(cls, cell_type: str, primitives: Sequence[str], names: Sequence[Sequence[str]] | None, *, edges: int) -> Offer:
        """Return what ``names`` say of each edge, or all ``primitives`` on every edge. Raise ``ValueError`` where they do not fit."""
        known = tuple(primitives)
        if names is None:
            return cls(cell_type, known, (tuple(range(len(known))),) * edges)
        if len(names) != edges:
            raise ValueError(f"The {cell_type} cell has {edges} edges: the operations of as many expected. Got those of {len(names)}.")
        for number, own in enumerate(names):
            if not own or not set(own) <= set(known) or len(set(own)) != len(own):
                raise ValueError(
                    f"Edge {number} of the {cell_type} cell: at least one of {', '.join(known)} expected, each once. Got {list(own)}."
                )
        return cls(cell_type, known, tuple(tuple(o for o, name in enumerate(known) if name in own) for own in names))

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """The operations of each edge by name."""
        return tuple(tuple(self.primitives[o] for o in own) for own in self.ops)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every edge offers all operations."""
        return all(len(own) == len(self.primitives) for own in self.ops)

    @cached_property
    def rows(self) -> tuple[Rows, ...]:
        """The edges by how many operations they offer."""
        counts = sorted({len(own) for own in self.ops})
        groups = [tuple(e for e, own in enumerate(self.ops) if len(own) == count) for count in counts]
        names = [self.cell_type if len(counts) == 1 else f"{self.cell_type}_{count}" for count in counts]
        return tuple(Rows(name, edges, tuple(self.ops[e] for e in edges)) for name, edges in zip(names, groups))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each matrix of alphas, by its name."""
        return {rows.name: (len(rows.edges), len(rows.ops[0])) for rows in self.rows}

    @property
    def active(self) -> Active | None:
        """The operations that are computed where all are, or None where every edge offers all."""
        return None if self.is_whole else self.ops

    def relaxed(self, alphas: Callable[[str], Tensor], relax: Callable[[Tensor], Weights]) -> Weights:
        """Return what ``relax`` makes of the matrices of alphas, which ``alphas`` finds by name: op_EO, 0 for what is not offered."""
        if self.is_whole:
            return relax(alphas(self.cell_type))
        parts = [relax(alphas(rows.name)) for rows in self.rows]
        active: list[tuple[int, ...]] = list(self.ops)
        for rows, part in zip(self.rows, parts):
            for e, own, drawn in zip(rows.edges, rows.ops, part.active or ()):
                active[e] = tuple(own[k] for k in drawn)
        return Weights(self.spread([part.op_EO for part in parts]), tuple(active))

    def spread(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (E, O) with the matrices of :attr:`rows` in their places, and 0 for what an edge does not offer."""
        if self.is_whole:
            return parts[0]
        whole_EO = parts[0].new_zeros(len(self.ops), len(self.primitives))
        for rows, part in zip(self.rows, parts):
            edges_G1 = torch.tensor(rows.edges, device=part.device).unsqueeze(1)
            whole_EO = whole_EO.index_put((edges_G1, torch.tensor(rows.ops, device=part.device)), part)
        return whole_EO

    def gathered(self, whole_EO: Tensor) -> list[Tensor]:
        """Return of (E, O) what is offered, as matrices of :attr:`rows`: the way back from :meth:`spread`."""
        return [whole_EO[list(rows.edges)].gather(1, torch.tensor(rows.ops, device=whole_EO.device)) for rows in self.rows]

    def mask(self, like: Tensor) -> Tensor:
        """Return 1 for what an edge offers and 0 for the rest, (E, O), on the device and in the precision of ``like``."""
        return self.spread([like.new_ones(shape) for shape in self.shapes.values()])


def offers(cell_types: Sequence[str], primitives: Sequence[str], names: EdgePrimitives | None, *, edges: int) -> dict[str, Offer]:
    """Return what the edges of each cell type offer: what ``names`` say of them, elsewhere all ``primitives``."""
    given = names or {}
    return {cell_type: Offer.of(cell_type, primitives, given.get(cell_type), edges=edges) for cell_type in cell_types}
