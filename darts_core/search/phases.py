"""Phases: a search goes on in another supernet, of more cells, of wider candidates, or of fewer operations on each edge."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from darts_core.nets.layers import LayersFrame
from darts_core.nets.macro import MacroFrame
from darts_core.nets.skeleton import DartsFrame
from darts_core.spaces.space import CellSpace
from darts_core.supernet.offer import EdgePrimitives, Offer

_FIXED = (LayersFrame, MacroFrame)
DROPOUT_DECAY = 0.2  # of the rate's logarithm, an epoch in which alpha moves (chenxin061/pdarts, train_search.py)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What a phase begins with; the epochs of a search are divided among its phases evenly.

    ``add_layers`` cells more than space.layers; of each edge's n operations the ``keeps(n)`` strongest stay (None: all; an edge that has
    no more keeps its own), and one channel in ``channel_proportion`` goes through them (None: as the method says). ``starts_anew`` draws
    weights and alpha again, and the learning rate begins a cosine of its own; else all that is left is carried over, optimisers included,
    and candidates that see more channels are widened (:mod:`darts_core.supernet.carry`). ``skip_dropout`` is the rate at which values on
    skip connections are left out, see :meth:`dropout`.
    """

    add_layers: int = 0
    keeps: Callable[[int], int] | None = None
    channel_proportion: int | None = None
    starts_anew: bool = False
    skip_dropout: float = 0.0

    def space(self, space: CellSpace, edge_primitives: EdgePrimitives | None = None) -> CellSpace:
        """Return ``space`` as this phase searches it, with ``edge_primitives`` on its edges where they are given."""
        own = space.edge_primitives if edge_primitives is None else edge_primitives
        return dataclasses.replace(space, layers=space.layers + self.add_layers, edge_primitives=own)

    def dropout(self, epoch: int, *, epochs: int, warmup_epochs: int) -> float:
        """Return the rate in ``epoch`` of the phase's ``epochs``: a line towards 0 while alpha stands still, then ``exp(-0.2 t)``.

        Both begin at ``skip_dropout``, as the published code has it: the rate jumps up when alpha begins to move.
        """
        if epoch < warmup_epochs:
            return self.skip_dropout * (epochs - epoch - 1) / epochs
        return self.skip_dropout * math.exp(-DROPOUT_DECAY * (epoch - warmup_epochs))


@dataclass(frozen=True)
class Span:
    """The epochs of a phase: from ``first`` (from 0) to before ``end``; the learning rate's cosine goes from ``lr_first`` to ``lr_end``."""

    number: int
    first: int
    end: int
    lr_first: int
    lr_end: int

    @property
    def epochs(self) -> int:
        """How many they are."""
        return self.end - self.first


def spans(phases: Sequence[Phase], epochs: int) -> tuple[Span, ...]:
    """Divide ``epochs`` among ``phases``."""
    edges = [number * epochs // len(phases) for number in range(len(phases) + 1)]
    restarts = [0, *(edges[n] for n, phase in enumerate(phases) if n and phase.starts_anew), epochs]
    return tuple(
        Span(n, first, end, max(r for r in restarts if r <= first), min(r for r in restarts if r >= end))
        for n, (first, end) in enumerate(pairwise(edges))
    )


def span_of(phases: Sequence[Phase], epochs: int, epoch: int) -> Span:
    """Return the span that ``epoch`` (from 0) lies in."""
    return next(span for span in spans(phases, epochs)[::-1] if span.first <= epoch)


def strongest_operations(
    mixture: Mapping[str, Tensor], offers: Mapping[str, Offer], keeps: Callable[[int], int]
) -> dict[str, list[list[str]]]:
    """Return the names of the ``keeps(n)`` operations of largest weight among the n of each edge; a tie goes to the earlier primitive."""
    kept: dict[str, list[list[str]]] = {}
    for cell_type, offer in offers.items():
        rows = zip(mixture[cell_type].tolist(), offer.ops)
        best = [sorted(own, key=lambda o, row=row: -row[o])[: keeps(len(own))] for row, own in rows]  # type: ignore[misc]
        kept[cell_type] = [[offer.primitives[o] for o in sorted(own)] for own in best]
    return kept


def check_phases(phases: Sequence[Phase], space: CellSpace) -> None:
    """Raise ``ValueError`` where a phase has no supernet, or would not know which operations to keep."""
    added = [phase.add_layers for phase in phases]
    has_fixed_depth = space.frame.cells is not None if isinstance(space.frame, DartsFrame) else isinstance(space.frame, _FIXED)
    if any(added) and has_fixed_depth:
        raise ValueError(
            f"method.add_layers must be {[0] * len(added)} with space.name: {space.name}, which says itself what its {space.layers} layers "
            f"are. Got {added}."
        )
    rows = {(len(names), "none" in names and not space.shape.may_be_none) for offer in space.offers().values() for names in offer.names}
    for number, phase in enumerate(phases, start=1):
        try:
            phase.space(space)
        except ValueError as error:
            raise ValueError(f"method.add_layers: phase {number} has {space.layers + phase.add_layers} cells. {error}") from None
        if phase.keeps is not None:
            _check_kept(phase.keeps, rows, number)
            rows = {(min(count, phase.keeps(count)), has_none) for count, has_none in rows}


def _check_kept(keeps: Callable[[int], int], rows: Collection[tuple[int, bool]], number: int) -> None:
    """Raise ``ValueError`` where no edge has as many operations as are to be kept, or one might be left with ``none`` alone.

    ``rows`` are the edges: how many operations they have, and whether ``none`` is one and may not be derived.
    """
    most, fewest = max(count for count, _ in rows), 2 if any(has_none for _, has_none in rows) else 1
    for count, has_none in rows:
        kept = keeps(count)
        if not (2 if has_none else 1) <= kept <= most:
            raise ValueError(
                f"method.kept_operations: {fewest} to {most} expected for phase {number}, as many as an edge still has. Got {kept}."
            )
