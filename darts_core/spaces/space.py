"""A space of cells: random genotypes and the check that a genotype belongs; for images supernet and discrete network, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, ClassVar

import torch

from darts_core.genotype import LAYERS, Cell, Genotype, GenotypeError, published, published_names
from darts_core.nets.network import Network
from darts_core.nets.skeleton import CellName, DartsFrame, Frame, Stem
from darts_core.ops import OPS
from darts_core.ops.drop_path import DropPath
from darts_core.registry import Registry, suggest
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.offer import EdgePrimitives, Offer, offers
from darts_core.supernet.policy import derivable, random_cell
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet

MOST_NODES = 100
"""Of a cell: 5,150 edges in the space of DARTS. What is meant to be less, a zero too many, is refused before it fills the memory."""

MOST_LAYERS = 1000


@dataclass(frozen=True, kw_only=True)
class Space:
    """Cells of the types ``cell_types``, all of one ``shape``; subclasses know the networks that are made of them.

    ``primitives``, which are among ``ops``, may stand on every edge, or of them those that ``edge_primitives`` names for each. ``spell``
    writes a genotype as the tables of a benchmark do, where there is one.
    """

    name: str
    primitives: tuple[str, ...]
    shape: CellShape
    cell_types: tuple[str, ...]
    spell: Callable[[Genotype], str] | None = None
    edge_primitives: EdgePrimitives | None = None
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
        if self.shape.nodes > MOST_NODES and LAYERS not in self.cell_types:
            raise ValueError(f"space.nodes must be at most {MOST_NODES}: edges grow with its square. Got {self.shape.nodes}.")
        for cell_type, offer in self.offers().items():
            self._check_offer(cell_type, offer)

    def _check_offer(self, cell_type: str, offer: Offer) -> None:
        """Raise ``ValueError`` where an edge, or, where ``none`` may be derived, a whole cell has nothing to offer beside ``none``."""
        if not self.shape.may_be_none:
            for name, own in zip(self.edge_names, offer.names):
                if own == ("none",):
                    raise ValueError(f"space.edges: {name} of the {cell_type} cell must offer an operation beside 'none'.")
            return
        reached = set(range(self.shape.inputs))
        for (src, dst), own in zip(self.shape.sources, offer.names):
            if src in reached and own != ("none",):
                reached.add(dst)
        if reached.isdisjoint(self.shape.concat):
            raise ValueError(
                f"space.edges leaves the {cell_type} cell no way from its input to its output but by 'none'. "
                f"Another operation expected on the edges of one, such as 0-{self.shape.concat[-1]}."
            )

    def offers(self) -> dict[str, Offer]:
        """Return which operations each edge of each cell type offers."""
        return offers(self.cell_types, self.primitives, self.edge_primitives, edges=len(self.shape.sources))

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

    def check(self, genotype: Genotype, *, any_size: bool = False) -> None:
        """Raise ``GenotypeError`` where a genotype is of another space or names an operation that does not exist.

        Published cells may use operations and node counts outside ``primitives`` and ``nodes``: these restrict the search, not what can
        be built. With ``any_size`` layers may be others than those of this space, too: nobody has said which were searched.
        """
        if genotype.space != self.name:
            own = [name for name in published_names() if published(name).space == self.name]
            known = f" Published ones of it: {', '.join(own)}." if own else ""
            raise GenotypeError(f"The genotype is of the space '{genotype.space}'. space.name expects '{self.name}'.{known}")
        if tuple(genotype.cells) != self.cell_types:
            raise GenotypeError(f"The space '{self.name}' has the cells {', '.join(self.cell_types)}. Got {', '.join(genotype.cells)}.")
        for cell_type, cell in genotype.cells.items():
            self._check_cell(cell_type, cell, any_size=any_size)
            for state, edge in cell.edges:
                if edge.op not in self.ops:
                    known = ", ".join(self.ops.names())
                    raise GenotypeError(
                        f"{cell_type} cell, node {state}: unknown operation '{edge.op}'{suggest(edge.op, self.ops)}. Known: {known}."
                    )

    def _check_cell(self, cell_type: str, cell: Cell, *, any_size: bool) -> None:
        """Raise ``GenotypeError`` where a cell does not fit the skeleton; where all edges are kept, none may be missing."""
        if cell.inputs != self.shape.inputs:
            raise GenotypeError(f"{cell_type} cell: {self.shape.inputs} inputs expected in the space '{self.name}'. Got {cell.inputs}.")
        joined = self.shape.joined_nodes
        last = cell.inputs + len(cell.nodes)
        if joined is not None and cell.concat != tuple(range(last - joined, last)):
            raise GenotypeError(f"{cell_type} cell: its last {joined} of the states up to {last - 1} expected. Got {list(cell.concat)}.")
        if self.shape.kept_edges is None and not (any_size and self.shape.reads is not None):
            if len(cell.nodes) != self.shape.nodes and self.shape.reads is not None:
                raise GenotypeError(f"{cell_type} cell: {self.shape.nodes} nodes expected, as the space has them. Got {len(cell.nodes)}.")
            for state, edges in enumerate(cell.nodes, start=cell.inputs):
                expected = range(state) if self.shape.reads is None else self.shape.reads[state - cell.inputs]
                found = [edge.src for edge in edges]
                if found != list(expected):
                    raise GenotypeError(f"{cell_type} cell, node {state}: an edge from each of {list(expected)} expected. Got {found}.")

    def random_genotype(self, generator: torch.Generator) -> Genotype:
        """Draw a genotype: for each node uniform distinct earlier states, on each a uniform operation that the edge offers.

        ``none`` is drawn where it may be derived.
        """
        cells = {cell_type: random_cell(offer, self.shape, generator) for cell_type, offer in self.offers().items()}
        return Genotype.of(cells, space=self.name, rule="random")

    def num_cells(self) -> int:
        """Return how many cells of one type can be derived, that of the first type: the product over nodes of sources and operations."""
        rows, found = iter(derivable(next(iter(self.offers().values())), self.shape)), 1
        for count in self.shape.fan_in:
            ops = [len(own) for own in islice(rows, count)]
            kept = count if self.shape.kept_edges is None else min(count, self.shape.kept_edges)
            found *= sum(math.prod(chosen) for chosen in combinations(ops, kept))
        return found


@dataclass(frozen=True, kw_only=True)
class CellSpace(Space):
    """Cells for images, on the skeleton of ``frame``; ``init_channels``, ``layers`` and ``stem`` size the supernet.

    ``widths`` are the channels of cells that ``init_channels`` does not set.
    """

    frame: Frame
    init_channels: int
    layers: int
    stem: Stem
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_channels < 1:
            raise ValueError(f"space.init_channels must be at least 1. Got {self.init_channels}.")
        if self.layers > MOST_LAYERS:
            raise ValueError(f"space.layers must be at most {MOST_LAYERS}. Got {self.layers}.")
        self.frame.check(layers=self.layers, stem=self.stem, auxiliary=False, section="space")

    def frame_of(self, cells: Sequence[CellName] | None) -> Frame:
        """Return the skeleton of the discrete network: of ``cells``, where ``retrain.cells`` names them, else as the space has it."""
        if cells is None:
            return self.frame
        if not isinstance(self.frame, DartsFrame):
            raise ValueError(f"retrain.cells must be null with space.name: {self.name}, whose cells follow from it. Got {list(cells)}.")
        if "reduction" in cells and "reduce" not in self.cell_types:
            raise ValueError(f"retrain.cells may name normal cells alone, for space.cells has no reduction. Got {list(cells)}.")
        return DartsFrame(tuple(cells), "retrain.cells")

    def check_network(
        self,
        *,
        init_channels: int,
        layers: int,
        stem: Stem,
        auxiliary: bool,
        drop_path_prob: float,
        cells: Sequence[CellName] | None = None,
    ) -> None:
        """Raise ``ValueError`` that names a key of ``retrain`` where there is no such discrete network, or none that can be trained."""
        frame = self.frame_of(cells)
        frame.check(layers=layers, stem=stem, auxiliary=auxiliary, section="retrain")
        if drop_path_prob and LAYERS in self.cell_types:
            raise ValueError(
                f"retrain.drop_path_prob must be 0 in a chain of layers: beside a dropped path nothing goes on. Got {drop_path_prob:g}."
            )
        with torch.device("meta"):
            width = dict.fromkeys(self.cell_types, len(self.shape.concat))
            frame.build(in_channels=1, init_channels=init_channels, layers=layers, stem=stem, width=width)

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
            edge_primitives=self.edge_primitives,
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
        cells: Sequence[CellName] | None = None,
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
            frame=self.frame_of(cells),
        )
