"""More operations than DARTS has, on a skeleton of one's own."""

from __future__ import annotations

from typing import Literal

from darts_core.genotype import CELL_TYPES
from darts_core.nets.skeleton import CellName, DartsFrame
from darts_core.spaces import SPACES
from darts_core.spaces.space import CellSpace
from darts_core.supernet.shape import CellShape

WIDE_PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "conv_3x3",
    "conv_1x3_3x1",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


@SPACES.register("darts_wide")
def darts_wide(
    *,
    init_channels: int = 16,
    cells: tuple[CellName, ...] = ("normal", "reduction", "normal"),
    nodes: int = 4,
    primitives: tuple[str, ...] = WIDE_PRIMITIVES,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """DARTS cells (arXiv:1806.09055) with full and 1x3-3x1 convolutions (NASNet, arXiv:1707.07012), in the order that cells gives.

    ``cells`` are those of the supernet, and of the discrete network unless ``retrain.cells`` names others. Without a reduction among
    them, only a normal cell is searched.
    """
    if "normal" not in cells:
        raise ValueError(f"space.cells must hold a normal cell. Got {list(cells)}.")
    return CellSpace(
        name="darts_wide",
        primitives=primitives,
        shape=CellShape(nodes=nodes),
        cell_types=CELL_TYPES if "reduction" in cells else CELL_TYPES[:1],
        frame=DartsFrame(cells),
        init_channels=init_channels,
        layers=len(cells),
        stem=stem,
    )
