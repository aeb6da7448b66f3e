"""The four spaces on which DARTS degenerates, of RobustDARTS (automl/RobustDARTS, src/spaces.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from darts_core.genotype import CELL_TYPES
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.spaces.restrict import narrowed
from darts_core.spaces.space import CellSpace

_SKIP, _SEP_3, _DIL_3, _DIL_5 = "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"
_MAX, _AVG = "max_pool_3x3", "avg_pool_3x3"
S1_PRIMITIVES = (_MAX, _AVG, _SKIP, _SEP_3, _DIL_3, _DIL_5)
S1_EDGES = {
    "normal": (
        (_SKIP, _DIL_3),
        (_SKIP, _DIL_5),  # node 2
        (_SKIP, _DIL_5),
        (_SKIP, _SEP_3),
        (_SKIP, _DIL_3),  # node 3
        (_MAX, _SKIP),
        (_SKIP, _SEP_3),
        (_SKIP, _SEP_3),
        (_SKIP, _DIL_3),  # node 4
        (_SKIP, _SEP_3),
        (_MAX, _SKIP),
        (_SKIP, _DIL_3),
        (_DIL_3, _DIL_5),
        (_DIL_3, _DIL_5),  # node 5
    ),
    "reduce": (
        (_MAX, _AVG),
        (_MAX, _DIL_3),  # node 2
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL_5),  # node 3
        (_MAX, _AVG),
        (_MAX, _SEP_3),
        (_SKIP, _DIL_3),
        (_SKIP, _DIL_5),  # node 4
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL_5),
        (_SKIP, _DIL_5),
        (_SKIP, _DIL_5),  # node 5
    ),
}
"""The two strongest operations of a search, on each edge of four nodes."""


@SPACES.register("s1")
def s1(
    *,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    primitives: tuple[str, ...] = S1_PRIMITIVES,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """S1 (Zela et al., ICLR 2020, arXiv:1909.09656): on each edge the two operations that a DARTS search had ranked highest there."""
    if nodes > 4:
        raise ValueError(f"space.nodes must be at most 4 in s1, which names the operations of the edges of so many. Got {nodes}.")
    own = darts_cnn(init_channels=init_channels, layers=layers, nodes=nodes, primitives=primitives, stem=stem)
    edges = {cell_type: S1_EDGES[cell_type][: len(own.edge_names)] for cell_type in CELL_TYPES}
    return replace(own, name="s1", edge_primitives=narrowed(edges, primitives, known=S1_PRIMITIVES, names=own.edge_names))


@SPACES.register("s2")
def s2(
    *,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    primitives: tuple[str, ...] = (_SKIP, _SEP_3),
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """S2 (Zela et al., ICLR 2020, arXiv:1909.09656): skip_connect or sep_conv_3x3 on every edge."""
    own = darts_cnn(init_channels=init_channels, layers=layers, nodes=nodes, primitives=primitives, stem=stem)
    return replace(own, name="s2")


@SPACES.register("s3")
def s3(
    *,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    primitives: tuple[str, ...] = ("none", _SKIP, _SEP_3),
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """S3 (Zela et al., ICLR 2020, arXiv:1909.09656): none, skip_connect or sep_conv_3x3 on every edge."""
    own = darts_cnn(init_channels=init_channels, layers=layers, nodes=nodes, primitives=primitives, stem=stem)
    return replace(own, name="s3")


@SPACES.register("s4")
def s4(
    *,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    primitives: tuple[str, ...] = ("noise", _SEP_3),
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> CellSpace:
    """S4 (Zela et al., ICLR 2020, arXiv:1909.09656): noise or sep_conv_3x3 on every edge."""
    own = darts_cnn(init_channels=init_channels, layers=layers, nodes=nodes, primitives=primitives, stem=stem)
    return replace(own, name="s4")
