"""A cell space: supernet, discrete network, random genotypes and the check that a genotype belongs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from darts_core.genotype import CELL_TYPES, Cell, Edge, Genotype, GenotypeError
from darts_core.nets.network import Network
from darts_core.nets.skeleton import Stem
from darts_core.ops import OPS
from darts_core.ops.drop_path import DropPath
from darts_core.registry import suggest
from darts_core.supernet.cell import sources
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet


@dataclass(frozen=True, kw_only=True)
class CellSpace:
    """A normal and a reduction cell of ``nodes`` nodes; each derived node reads ``edges_per_node`` earlier states.

    ``primitives`` may stand on every edge; ``init_channels``, ``layers`` and ``stem`` size the supernet.
    """

    name: str
    primitives: tuple[str, ...]
    nodes: int
    init_channels: int
    layers: int
    stem: Stem
    edges_per_node: int = 2

    def __post_init__(self) -> None:
        for primitive in self.primitives:
            if primitive not in OPS:
                known = ", ".join(OPS.names())
                raise ValueError(f"space.primitives: no operation is called '{primitive}'{suggest(primitive, OPS)}. Known: {known}.")
        if len(set(self.primitives)) != len(self.primitives):
            raise ValueError(f"space.primitives names an operation twice: {list(self.primitives)}.")
        if not set(self.primitives) - {"none"}:
            raise ValueError(f"space.primitives must hold an operation beside 'none'. Got {list(self.primitives)}.")
        for key in ("nodes", "init_channels"):
            if getattr(self, key) < 1:
                raise ValueError(f"space.{key} must be at least 1. Got {getattr(self, key)}.")
        if self.layers < 3:
            raise ValueError(
                f"space.layers must be at least 3, for the supernet to have a normal cell beside two reductions. Got {self.layers}."
            )

    @property
    def edge_names(self) -> list[str]:
        """The relaxed cell's edges as ``source-destination``, in the order of the rows of alpha."""
        return [f"{src}-{dst}" for src, dst in sources(self.nodes)]

    def supernet(
        self,
        *,
        in_channels: int,
        num_classes: int,
        relax: Relaxation,
        mixed: MixedOp,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
        channel_proportion: int = 1,
    ) -> Supernet:
        """Return the relaxed network; alpha is drawn from ``generator``, the weights from torch's default one."""
        return Supernet(
            self.primitives,
            nodes=self.nodes,
            init_channels=self.init_channels,
            layers=self.layers,
            stem=self.stem,
            in_channels=in_channels,
            num_classes=num_classes,
            relax=relax,
            mixed=mixed,
            generator=generator,
            relax_edges=relax_edges,
            channel_proportion=channel_proportion,
        )

    def network(
        self,
        genotype: Genotype,
        *,
        in_channels: int,
        num_classes: int,
        init_channels: int,
        layers: int,
        stem: Stem = "cifar",
        auxiliary: bool = False,
        drop_path: DropPath | None = None,
    ) -> Network:
        """Return the discrete network of ``genotype``."""
        self.check(genotype)
        return Network(
            genotype,
            in_channels=in_channels,
            num_classes=num_classes,
            init_channels=init_channels,
            layers=layers,
            stem=stem,
            auxiliary=auxiliary,
            drop_path=drop_path,
        )

    def check(self, genotype: Genotype) -> None:
        """Raise ``GenotypeError`` where a genotype is of another space or names an operation that does not exist.

        Published cells may use operations and node counts outside ``primitives`` and ``nodes``: these restrict the search, not what can
        be built.
        """
        if genotype.space != self.name:
            raise GenotypeError(f"The genotype is of the space '{genotype.space}'. space.name expects '{self.name}'.")
        for cell_type in CELL_TYPES:
            for state, edge in genotype.cell(cell_type).edges:
                if edge.op not in OPS:
                    known = ", ".join(OPS.names())
                    raise GenotypeError(
                        f"{cell_type} cell, node {state}: unknown operation '{edge.op}'{suggest(edge.op, OPS)}. Known: {known}."
                    )

    def random_genotype(self, generator: torch.Generator) -> Genotype:
        """Draw a genotype: for each node a uniform pair of distinct earlier states, on each a uniform operation; ``none`` is left out."""
        cells = {cell_type: self._random_cell(generator) for cell_type in CELL_TYPES}
        return Genotype(normal=cells["normal"], reduce=cells["reduce"], space=self.name, rule="random")

    def _random_cell(self, generator: torch.Generator) -> Cell:
        ops = [name for name in self.primitives if name != "none"]
        nodes = []
        for node in range(self.nodes):
            srcs = torch.randperm(node + 2, generator=generator)[: self.edges_per_node].sort().values.tolist()
            drawn = torch.randint(len(ops), (len(srcs),), generator=generator).tolist()
            nodes.append(tuple(Edge(ops[o], src) for o, src in zip(drawn, srcs)))
        return Cell(tuple(nodes), tuple(range(2, self.nodes + 2)))

    def num_cells(self) -> int:
        """Return how many cells of one type can be derived: the product over nodes of source pairs and operations."""
        ops = len(set(self.primitives) - {"none"})
        return math.prod(math.comb(node + 2, self.edges_per_node) * ops**self.edges_per_node for node in range(self.nodes))
