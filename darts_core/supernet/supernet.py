"""The network in which every edge is a mixture of candidate operations (Liu et al., ICLR 2019, arXiv:1806.09055)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from darts_core.genotype import CELL_TYPES
from darts_core.nets.skeleton import Stem, build_stem, plan_cells, pooled
from darts_core.supernet.arch import ArchParameters
from darts_core.supernet.backend import Backend, Reference
from darts_core.supernet.cell import SearchCell, sources
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.partial import check_width
from darts_core.supernet.recompute import recomputed


@dataclass(frozen=True)
class Weights:
    """What a relaxation makes of the operations' alpha: ``op_EO`` weighs the operations of each edge."""

    op_EO: Tensor  # noqa: N815


Relaxation = Callable[[Tensor], Weights]
EdgeRelaxation = Callable[[Tensor], Tensor]
"""beta_E -> the weight of each edge among those that lead to its node."""


class Supernet(nn.Module):
    """Stem, cells of mixed operations, classifier. BatchNorm is affine in the stem only.

    ``relax`` turns ``alpha_EO`` into weights, ``mixed`` says how an edge spends them; with ``relax_edges`` there is a ``beta_E`` for each
    cell type, too. Candidates see one of ``channel_proportion`` channels. Images from 8 to 224 pixels, odd sizes too.
    ``use`` chooses how it is computed; until then it is the published forward.
    """

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        nodes: int,
        init_channels: int,
        layers: int,
        stem: Stem,
        in_channels: int,
        num_classes: int,
        relax: Relaxation,
        mixed: MixedOp,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
        channel_proportion: int = 1,
    ) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.nodes = nodes
        self.in_channels = in_channels
        self.relax, self.relax_edges = relax, relax_edges
        check_width(init_channels, channel_proportion)
        edges = len(sources(nodes))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(CELL_TYPES, (edges, len(self.primitives)))
        if relax_edges is not None:
            shapes |= {_of_edges(cell_type): (edges,) for cell_type in CELL_TYPES}
        self.arch = ArchParameters(shapes, generator=generator)
        plans = list(plan_cells(init_channels, layers, stem=stem, width=dict.fromkeys(CELL_TYPES, nodes)))
        self.cell_types = [plan.cell_type for plan in plans]
        self.stem = build_stem(stem, in_channels, init_channels)
        self.cells = nn.ModuleList(
            SearchCell(self.primitives, nodes, plan, mixed=mixed, channel_proportion=channel_proportion) for plan in plans
        )
        self.classifier = nn.Linear(plans[-1].channels * nodes, num_classes)
        self.backend: Backend = Reference()
        self.is_lean = False
        self.backend.prepare(self, torch.device("cpu"))

    def use(self, backend: Backend, device: torch.device, *, is_lean: bool = False) -> None:
        """Move to ``device`` and compute by ``backend``; ``is_lean`` keeps the cells' inputs alone for the backward pass."""
        self.backend, self.is_lean = backend, is_lean
        self.__dict__.pop("_weights", None)
        backend.prepare(self, device)
        self.to(device).to(memory_format=backend.memory_format(device))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C_in, H, W) to logits (B, K)."""
        weights = {cell_type: (self.relax(self.arch.get(cell_type)).op_EO, self._edges(cell_type)) for cell_type in CELL_TYPES}
        s0, s1 = self._enter(*self.stem(x))
        for number, (cell_type, cell) in enumerate(zip(self.cell_types, self.cells), start=1):
            compute = partial(cell, backend=self.backend, is_last=number == len(self.cells))
            inputs = (s0, s1, *weights[cell_type])
            s0, s1 = s1, recomputed(cell, compute, *inputs) if self.is_lean and torch.is_grad_enabled() else compute(*inputs)
        return self.classifier(pooled(s1))

    def _edges(self, cell_type: str) -> Tensor | None:
        return None if self.relax_edges is None else self.relax_edges(self.arch.get(_of_edges(cell_type)))

    def _enter(self, s0: Tensor, s1: Tensor) -> tuple[Tensor, Tensor]:
        entered = self.backend.enter(s0)
        return entered, entered if s1 is s0 else self.backend.enter(s1)

    @contextmanager
    def differentiable_twice(self) -> Iterator[None]:
        """Within, forward passes have gradients that can be differentiated again."""
        backend = self.backend
        self.backend = backend.differentiable_twice()
        try:
            yield
        finally:
            self.backend = backend

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return the architecture parameters, which only the arch step moves."""
        return list(self.arch.parameters())

    def weights(self) -> dict[str, nn.Parameter]:
        """Return every other parameter by name: what the weight step moves, decays and clips.

        Modules that are replaced count after the next ``use``.
        """
        return {name: getattr(module, own) for name, module, own in self._weights}

    @cached_property
    def _weights(self) -> list[tuple[str, nn.Module, str]]:
        """Name, module and the module's name for it of each weight: to walk thousands of modules takes as long as a small cell."""
        names = [name for name, _ in self.named_parameters() if not name.startswith("arch.")]
        return [(name, self.get_submodule(owner), own) for name in names for owner, _, own in [name.rpartition(".")]]

    def mixture(self) -> dict[str, Tensor]:
        """Return the present weights ``op_EO`` of each cell type, detached, on the CPU."""
        with torch.no_grad():
            return {cell_type: self.relax(self.arch.get(cell_type)).op_EO.detach().cpu() for cell_type in CELL_TYPES}

    def edge_mixture(self) -> dict[str, Tensor]:
        """Return the present weights ``edge_E`` of each cell type, detached, on the CPU; none where edges have no weights."""
        with torch.no_grad():
            found = {cell_type: self._edges(cell_type) for cell_type in CELL_TYPES}
        return {cell_type: edge_E.detach().cpu() for cell_type, edge_E in found.items() if edge_E is not None}


def _of_edges(cell_type: str) -> str:
    return f"{cell_type}_edges"
