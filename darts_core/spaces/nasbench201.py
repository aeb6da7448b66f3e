"""The space of NAS-Bench-201, and the string in which its tables name an architecture."""

from __future__ import annotations

import re

from darts_core.genotype import Cell, Edge, Genotype, GenotypeError
from darts_core.nets.chain import ChainFrame
from darts_core.spaces import SPACES
from darts_core.spaces.space import CellSpace
from darts_core.supernet.shape import CellShape

NAME = "nasbench201"
NASBENCH201_PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@SPACES.register(NAME)
def nasbench201(
    *, init_channels: int = 16, layers: int = 15, nodes: int = 4, primitives: tuple[str, ...] = NASBENCH201_PRIMITIVES
) -> CellSpace:
    """NAS-Bench-201 (Dong and Yang, ICLR 2020, arXiv:2001.00326): one cell of 6 edges, 5 primitives, 15,625 architectures.

    ``nodes`` counts the cell's input, as the paper does. ``layers`` are the cells: a third of them in each stage, with a residual block
    that halves the resolution between two stages. An edge keeps its strongest operation, ``none`` included. Within the supernet's cells
    BatchNorm has no affine parameters, and pools have no BatchNorm (D-X-Y/AutoDL-Projects, xautodl/models/cell_operations.py).
    """
    if nodes < 2:
        raise ValueError(f"space.nodes must be at least 2, the cell's input and its output. Got {nodes}.")
    return CellSpace(
        name=NAME,
        primitives=primitives,
        shape=CellShape(nodes=nodes - 1, inputs=1, kept_edges=None, may_be_none=True, joined_nodes=1, normalises_pools=False),
        cell_types=("normal",),
        frame=ChainFrame(),
        init_channels=init_channels,
        layers=layers,
        stem="cifar",
        spell=to_string,
    )


def to_string(genotype: Genotype) -> str:
    """Return ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+...``: a group a node, in it an operation for each earlier state.

    Raise ``GenotypeError`` for a genotype of another space.
    """
    if genotype.space != NAME:
        raise GenotypeError(f"Only a genotype of the space '{NAME}' has such a string. Got one of '{genotype.space}'.")
    return "+".join("|" + "".join(f"{edge.op}~{edge.src}|" for edge in edges) for edges in genotype.cell("normal").nodes)


def from_string(text: str, *, rule: str = "published") -> Genotype:
    """Return the genotype that ``text`` names, of any number of nodes. Raise ``GenotypeError`` that says which group is malformed."""
    nodes = []
    for number, group in enumerate(text.strip().split("+"), start=1):
        if not re.fullmatch(r"\|(?:[^|~+]+~\d+\|)+", group):
            raise GenotypeError(f"{text!r}, group {number}: '|operation~source|operation~source|...' expected. Got {group!r}.")
        edges = tuple(Edge(op, int(src)) for op, src in re.findall(r"([^|~+]+)~(\d+)\|", group))
        if [edge.src for edge in edges] != list(range(number)):
            sources = [edge.src for edge in edges]
            raise GenotypeError(f"{text!r}, group {number}: the sources {list(range(number))} expected, in this order. Got {sources}.")
        nodes.append(edges)
    return Genotype(normal=Cell(tuple(nodes), (len(nodes),), 1), space=NAME, rule=rule)
