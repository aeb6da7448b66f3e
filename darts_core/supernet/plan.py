"""What a cell consists of, as its kernels know it: found once for all steps in which its nodes add up the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from darts_core.ops.edge import Step
from darts_core.ops.native.block import Block
from darts_core.ops.native.cell import Cell
from darts_core.ops.native.fit import Fit
from darts_core.ops.native.terms import BlocksTerm, CellTerm, MapTerm, Pool, PoolTerm, StateTerm


@dataclass(frozen=True, eq=False)
class Candidate:
    """What the kernels make of an operation: blocks, a pool (of whatever state) with its BatchNorm, a fit, or the state as it is.

    ``bn`` is that of the pool or the fit. A fit is computed when it is named, all others with their cell.
    """

    blocks: tuple[Block, ...] = ()
    pool: Pool | None = None
    bn: nn.BatchNorm2d | None = None
    fit: Fit | None = None

    @property
    def is_training(self) -> bool:
        """Whether the batch's moments are used."""
        return any(bn.training for bn in self.bns)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Its blocks as the functions of an edge or a node know them."""
        return tuple(map(step_of, self.blocks))

    @cached_property
    def bns(self) -> tuple[nn.BatchNorm2d, ...]:
        """All BatchNorms."""
        return tuple(block.bn for block in self.blocks) if self.bn is None else (self.bn,)


def step_of(block: Block) -> Step:
    """Return what the functions of an edge or a node are to know of a block."""
    conv = block.depthwise
    return Step(conv.kernel_size[0], conv.stride[0], int(conv.padding[0]), conv.dilation[0], block.bn.eps)


Reading = tuple[int, Candidate] | None
"""A term of a node: the number of the state that it reads, and the operation; None for a map that was computed elsewhere."""


def plan(
    nodes: tuple[tuple[Reading, ...], ...],
    leaves: int,
    outputs: tuple[int, ...],
    rectifies: bool,
    size: tuple[int, int],
    is_training: bool,
) -> Cell:
    """Return the cell whose states are ``leaves`` given ones and then ``nodes``, sums of terms; maps are numbered as they come."""
    pools: dict[Pool, int] = {}
    planned: list[list[CellTerm]] = []
    maps = 0
    for node in nodes:
        terms: list[CellTerm] = []
        for reading in node:
            if reading is None:
                terms.append(MapTerm(maps))
                maps += 1
                continue
            state, candidate = reading
            if candidate.pool is not None and candidate.bn is not None:
                pool = replace(candidate.pool, state=state)
                terms.append(PoolTerm(pools.setdefault(pool, len(pools)), candidate.bn))
            else:
                terms.append(BlocksTerm(state, candidate.blocks) if candidate.blocks else StateTerm(state))
        planned.append(terms)
    return Cell(
        leaves=leaves,
        maps=maps,
        nodes=planned,
        pools=list(pools),
        outputs=outputs,
        rectifies=rectifies,
        size=size,
        is_training=is_training,
    )
