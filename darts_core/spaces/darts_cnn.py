"""The convolutional space of DARTS."""

from __future__ import annotations

from typing import Literal

from darts_core.genotype import CELL_TYPES
from darts_core.nets.skeleton import DartsFrame
from darts_core.spaces import SPACES
from darts_core.spaces.space import CellSpace
from darts_core.supernet.shape import CellShape

DARTS_PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


@SPACES.register("darts_cnn")
def darts_cnn(
    *,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    primitives: tuple[str, ...] = DARTS_PRIMITIVES,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """DARTS CNN (Liu et al., ICLR 2019, arXiv:1806.09055): 8 primitives, 4 nodes, normal and reduction cells at 1/3 and 2/3 of depth."""
    return CellSpace(
        name="darts_cnn",
        primitives=primitives,
        shape=CellShape(nodes=nodes),
        cell_types=CELL_TYPES,
        frame=DartsFrame(),
        init_channels=init_channels,
        layers=layers,
        stem=stem,
    )
