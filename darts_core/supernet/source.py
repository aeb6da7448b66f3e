"""Where an edge starts: a state of the cell, which candidate operations are applied to, and what they add to the next state.

A mixed operation (:mod:`darts_core.supernet.mixed`) says *which* candidates of an edge run and with what weight; a source says *how* they
are computed. :class:`PlainSource` is the published forward, the oracle of every faster one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn

Term = tuple[Tensor | None, Tensor]
"""(weight, x): ``weight * x`` is added. (None, x): ``x`` is added as it is; nobody else reads it, so it may be written to."""


class Source(Protocol):
    """A state of a cell, (B, C, H, W), as its outgoing edges see it."""

    x: Tensor

    def term(self, op: nn.Module, weight: Tensor) -> Term:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        ...


class PlainSource:
    """Apply each operation as it stands."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def term(self, op: nn.Module, weight: Tensor) -> Term:
        """Return the weight and the operation's output."""
        return weight, op(self.x)


class DroppedSource:
    """A state of which an edge leaves out some images: what operations but identities make of it is multiplied by ``scale_B``."""

    def __init__(self, source: Source, scale_B: Tensor) -> None:
        self.x = source.x
        self._source = source
        self._scale = scale_B.view(-1, 1, 1, 1)

    def term(self, op: nn.Module, weight: Tensor) -> Term:
        """Return the term of the state itself, of each image so many times."""
        own, x = self._source.term(op, weight)
        if isinstance(op, nn.Identity):
            return own, x
        if not isinstance(x, Tensor):  # noted, to be computed with the whole edge
            own, x = weight, op(self.x)
        return own, x * self._scale


def dropped(source: Source, scale_B: Tensor | None) -> Source:
    """Return ``source`` as an edge sees it that multiplies each image by ``scale_B``, or as it is."""
    return source if scale_B is None else DroppedSource(source, scale_B)


def plain_total(terms: Iterable[Term]) -> Tensor:
    """Return the sum of the terms, one after the other."""
    summands = [x if weight is None else weight * x for weight, x in terms]
    total = summands[0]
    for summand in summands[1:]:
        total = total + summand
    return total
