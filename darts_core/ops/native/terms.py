"""What a cell's nodes add up."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from darts_core.ops.native.block import Block


@dataclass(frozen=True)
class BlocksTerm:
    """One block, or two in a row, on a state."""

    state: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PoolTerm:
    """A pooled state after a BatchNorm of this term's own."""

    pool: int
    bn: nn.BatchNorm2d


@dataclass(frozen=True)
class StateTerm:
    """A state as it is."""

    state: int


@dataclass(frozen=True)
class MapTerm:
    """A map that was computed elsewhere."""

    map: int


CellTerm = BlocksTerm | PoolTerm | StateTerm | MapTerm


@dataclass(frozen=True)
class Pool:
    """A state's 3x3 maximum or mean, padding 1; ``eps`` is that of the BatchNorms after it."""

    state: int
    is_max: bool
    stride: int
    eps: float
