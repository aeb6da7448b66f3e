"""A space of cells: random genotypes and the check that a genotype belongs; for images supernet and discrete network, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from darts_core.genotype import Cell, Edge, Genotype, GenotypeError
from darts_core.nets.network import Network
from darts_core.nets.skeleton import Frame, Stem
from darts_core.ops import OPS
from darts_core.ops.drop_path import DropPath
from darts_core.registry import Registry, suggest
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet


@dataclass(frozen=True, kw_only=True)
class Space:
    """Cells of the types ``cell_types``, all of one ``shape``; subclasses know the networks that are made of them.

    ``primitives``, which are among ``ops``, may stand on every edge. ``spell`` writes a genotype as the tables of a benchmark do, where
    there is one.
    """

    name: str
    primitives: tuple[str, ...]
    shape: CellShape
    cell_types: tuple[str, ...]
    spell: Callable[[Genotype], str] | None = None
    ops: ClassVar[Registry[Any]] = OPS

    def __post_init__(self) -> None:
        for primitive in self.primitives:
            if primitive not in self.ops:
                known = ", ".join(self.ops.names())
                raise ValueError(f"space.primitives: no operation is called '{primitive}'{suggest(primitive, self.ops)}. Known: {known}.")
        if len(set(self.primitives)) != len(self.primitives):
            raise ValueError(f"space.primitives names an operation twice: {list(self.primitives)}.")
        if not set(self.primitives) - {"none"}:
            raise ValueError(f"space.primitives must hold an operation beside 'none'. Got {list(self.primitives)}.")
        if self.shape.nodes < 1:
            raise ValueError(f"space.nodes must be at least 1. Got {self.shape.nodes}.")

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
        auxiliary_skips: bool = False,
    ) -> Supernet:
        """Return the relaxed network; alpha is drawn from ``generator``, the weights from torch's default one."""
        raise NotImplementedError

    @property
    def edge_names(self) -> list[str]:
        """The relaxed cell's edges as ``source-destination``, in the order of the rows of alpha."""
        return [f"{src}-{dst}" for src, dst in self.shape.sources]

    def check(self, genotype: Genotype) -> None:
        """Raise ``GenotypeError`` where a genotype is of another space or names an operation that does not exist.

        Published cells may use operations and node counts outside ``primitives`` and ``nodes``: these restrict the search, not what can
        be built.
        """
        if genotype.space != self.name:
            raise GenotypeError(f"The genotype is of the space '{genotype.space}'. space.name expects '{self.name}'.")
        if tuple(genotype.cells) != self.cell_types:
            raise GenotypeError(f"The space '{self.name}' has the cells {', '.join(self.cell_types)}. Got {', '.join(genotype.cells)}.")
        for cell_type, cell in genotype.cells.items():
            self._check_cell(cell_type, cell)
            for state, edge in cell.edges:
                if edge.op not in self.ops:
                    known = ", ".join(self.ops.names())
                    raise GenotypeError(
                        f"{cell_type} cell, node {state}: unknown operation '{edge.op}'{suggest(edge.op, self.ops)}. Known: {known}."
                    )

    def _check_cell(self, cell_type: str, cell: Cell) -> None:
        """Raise ``GenotypeError`` where a cell does not fit the skeleton; where all edges are kept, none may be missing."""
        if cell.inputs != self.shape.inputs:
            raise GenotypeError(f"{cell_type} cell: {self.shape.inputs} inputs expected in the space '{self.name}'. Got {cell.inputs}.")
        joined = self.shape.joined_nodes
        last = cell.inputs + len(cell.nodes)
        if joined is not None and cell.concat != tuple(range(last - joined, last)):
            raise GenotypeError(f"{cell_type} cell: its last {joined} of the states up to {last - 1} expected. Got {list(cell.concat)}.")
        if self.shape.kept_edges is None:
            for state, edges in enumerate(cell.nodes, start=cell.inputs):
                if [edge.src for edge in edges] != list(range(state)):
                    found = [edge.src for edge in edges]
                    raise GenotypeError(f"{cell_type} cell, node {state}: an edge from each of 0 to {state - 1} expected. Got {found}.")

    def random_genotype(self, generator: torch.Generator) -> Genotype:
        """Draw a genotype: for each node uniform distinct earlier states, on each a uniform operation; ``none`` where it may be derived."""
        cells = {cell_type: self._random_cell(generator) for cell_type in self.cell_types}
        return Genotype.of(cells, space=self.name, rule="random")

    def _random_cell(self, generator: torch.Generator) -> Cell:
        ops = [self.primitives[o] for o in self.shape.choosable(self.primitives)]
        nodes = []
        for count in self.shape.fan_in:
            srcs = torch.randperm(count, generator=generator)[: self.shape.kept_edges].sort().values.tolist()
            drawn = torch.randint(len(ops), (len(srcs),), generator=generator).tolist()
            nodes.append(tuple(Edge(ops[o], src) for o, src in zip(drawn, srcs)))
        return Cell(tuple(nodes), self.shape.concat, self.shape.inputs)

    def num_cells(self) -> int:
        """Return how many cells of one type can be derived: the product over nodes of choices of sources and operations."""
        ops = len(self.shape.choosable(self.primitives))
        kept = [count if self.shape.kept_edges is None else self.shape.kept_edges for count in self.shape.fan_in]
        return math.prod(math.comb(count, edges) * ops**edges for count, edges in zip(self.shape.fan_in, kept))


@dataclass(frozen=True, kw_only=True)
class CellSpace(Space):
    """Cells for images, on the skeleton of ``frame``; ``init_channels``, ``layers`` and ``stem`` size the supernet."""

    frame: Frame
    init_channels: int
    layers: int
    stem: Stem

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_channels < 1:
            raise ValueError(f"space.init_channels must be at least 1. Got {self.init_channels}.")
        self.frame.check(layers=self.layers, stem=self.stem, auxiliary=False, section="space")

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
        auxiliary_skips: bool = False,
    ) -> ImageSupernet:
        """Return the relaxed network; alpha is drawn from ``generator``, the weights from torch's default one."""
        return ImageSupernet(
            self.primitives,
            shape=self.shape,
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
            auxiliary_skips=auxiliary_skips,
            cell_types=self.cell_types,
            frame=self.frame,
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
            frame=self.frame,
        )
