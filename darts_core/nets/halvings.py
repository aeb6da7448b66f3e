"""All states of a cell at half the resolution from some node on: for cells whose nodes are the layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from torch import nn

from darts_core.nets.skeleton import CellPlan
from darts_core.ops.conv import FactorizedReduce

S = TypeVar("S")


class Halvings(nn.ModuleDict):
    """Ahead of the nodes ``plan.halvings`` a factorised reduction of every state so far: (B, C, H, W) -> (B, 2C, H/2, W/2).

    ``read`` names for each of these nodes the states that it or a later one reads; the others need none.
    """

    def __init__(self, plan: CellPlan, read: Mapping[int, Collection[int]], *, affine: bool) -> None:
        super().__init__()
        for node in plan.halvings:
            channels = plan.channels_at(node)
            self[str(node)] = nn.ModuleDict(
                {str(state): FactorizedReduce(channels // 2, channels, affine=affine) for state in sorted(read[node])}
            )

    def of(self, node: int, states: Sequence[S], halve: Callable[[nn.Module, S], S]) -> list[S]:
        """Return the states as ``node`` and those after it read them; ``halve`` applies a reduction to a state."""
        if str(node) not in self:
            return list(states)
        reductions = self[str(node)]
        assert isinstance(reductions, nn.ModuleDict)
        return [halve(reductions[str(k)], state) if str(k) in reductions else state for k, state in enumerate(states)]
