"""Mixed operations: how an edge spends its weights on its candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from darts_core.supernet.source import Source, Term

Edge = nn.ModuleDict | dict[str, nn.Module]
MixedOp = Callable[[Edge, Source, Tensor], Iterable[Term]]
"""(candidates by name, source, weight_O) -> the terms that the edge adds to its destination; they need not be summed yet.

Of an edge of which only some operations are computed, it is given those.
"""


def dense(edge: Edge, source: Source, weight_O: Tensor) -> list[Term]:
    """Weigh every candidate (DARTS, arXiv:1806.09055, equation 2). ``none`` adds zero and is not computed, unless it stands alone."""
    named = list(zip(weight_O.unbind(), edge.items()))
    return [source.term(op, weight) for weight, (name, op) in named if name != "none" or len(named) == 1]
