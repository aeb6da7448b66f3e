"""What every relaxed network has: architecture parameters, what a relaxation makes of them, and weights apart from both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from darts_core.genotype import Genotype
from darts_core.supernet.arch import ArchParameters
from darts_core.supernet.backend import Backend, Reference
from darts_core.supernet.sampled import Sampled, Weights, one_hot
from darts_core.supernet.shape import CellShape

Relaxation = Callable[[Tensor], Weights]
EdgeRelaxation = Callable[[Tensor, Sequence[int]], Tensor]
"""(beta_E, how many edges lead to each node) -> the weight of each edge among those that lead to its node."""


class Supernet(nn.Module):
    """The architecture of a network in which every edge is a mixture of candidate operations; subclasses add the network.

    ``cell_types`` are those of its cells, all of one ``shape``. ``relax`` turns ``alpha_EO`` into weights; with ``relax_edges`` there is a
    ``beta_E`` for each cell type, too. ``use`` chooses how it is computed; until then it is the published forward.
    """

    arch_betas: tuple[float, float] = (0.5, 0.999)
    """Those of the reference's Adam for alpha."""
    clips_virtual_step = False
    """Whether the virtual step of the second order is clipped as the weight step is; the reference does so for texts alone."""
    held_virtually: frozenset[str] = frozenset()
    """Weights that the virtual step of the finite difference leaves where they are, because the reference's does."""
    backends: tuple[str, ...] = ("reference", "eager", "native", "compiled")
    can_be_lean = True
    auxiliary_weight: Tensor | None
    _imposed: Mapping[str, Weights] | None = None

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        shape: CellShape,
        cell_types: Sequence[str],
        relax: Relaxation,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
    ) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.shape = shape
        self.cell_types = tuple(cell_types)
        self.relax_edges = relax_edges
        edges = len(shape.sources)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(self.cell_types, (edges, len(self.primitives)))
        if relax_edges is not None:
            shapes |= {_of_edges(cell_type): (edges,) for cell_type in self.cell_types}
        self.arch = ArchParameters(shapes, generator=generator)
        self.relax = relax.fresh(generator) if isinstance(relax, Sampled) else relax
        self.backend: Backend = Reference()
        self.is_lean = False

    def use(self, backend: Backend, device: torch.device, *, is_lean: bool = False) -> None:
        """Move to ``device`` and compute by ``backend``; ``is_lean`` keeps the cells' inputs alone for the backward pass."""
        self.backend, self.is_lean = backend, is_lean
        self.__dict__.pop("_weights", None)
        backend.prepare(self, device)
        self.to(device).to(memory_format=backend.memory_format(device))

    def sample(
        self, batch: int, *, size: tuple[int, int], dtype: torch.dtype, device: torch.device, generator: torch.Generator
    ) -> tuple[Any, Tensor]:
        """Return a random batch and its targets, to check a backend by; ``size`` is that of images, (H, W)."""
        raise NotImplementedError

    def metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return what else is to be logged of an epoch, from its losses in ``row``."""
        return {}

    def regularised(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Return the logits of a weight step, and what is added to their loss, if anything is."""
        return self(inputs), None

    def lr_scale(self, inputs: Any) -> float:
        """Return what the learning rate is multiplied by for a batch."""
        return 1.0

    def _spent(self) -> dict[str, Weights]:
        """Return the weights of this forward pass, of each cell type."""
        return dict(self._imposed or {cell_type: self.relax(self.arch.get(cell_type)) for cell_type in self.cell_types})

    @contextmanager
    def _imposing(self, weights: Mapping[str, Weights]) -> Iterator[None]:
        before, self._imposed = self._imposed, weights
        try:
            yield
        finally:
            self._imposed = before

    def weighing(self, op_EO: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Within, forward passes weigh the operations of each cell type by ``op_EO``, whatever alpha says."""
        return self._imposing({cell_type: Weights(weights) for cell_type, weights in op_EO.items()})

    def only(self, genotype: Genotype) -> AbstractContextManager[None]:
        """Within, forward passes compute the operations of ``genotype`` alone, each with weight 1."""
        return self._imposing({cell_type: self.path(genotype, cell_type) for cell_type in self.cell_types})

    def path(self, genotype: Genotype, cell_type: str) -> Weights:
        """Return 1 for the operation on each edge of a genotype's cell; edges that it lacks weigh nothing, by the cheapest operation."""
        chosen = {(edge.src, dst): self.primitives.index(edge.op) for dst, edge in genotype.cell(cell_type).edges}
        idle = next((o for name in ("none", "skip_connect") for o, own in enumerate(self.primitives) if own == name), 0)
        active = tuple((chosen.get(ends, idle),) for ends in self.shape.sources)
        kept_E = torch.tensor([float(ends in chosen) for ends in self.shape.sources])
        alpha_EO = self.arch.get(cell_type).detach()
        return Weights(one_hot(active, alpha_EO) * kept_E.to(alpha_EO).unsqueeze(1), active)

    def _edges(self, cell_type: str) -> Tensor | None:
        return None if self.relax_edges is None else self.relax_edges(self.arch.get(_of_edges(cell_type)), self.shape.fan_in)

    @contextmanager
    def differentiable_twice(self) -> Iterator[None]:
        """Within, forward passes have gradients that can be differentiated again."""
        backend = self.backend
        self.backend = backend.differentiable_twice()
        try:
            yield
        finally:
            self.backend = backend

    def op_alphas(self) -> dict[str, Tensor]:
        """Return the operations' ``alpha_EO`` of each cell type."""
        return {cell_type: self.arch.get(cell_type) for cell_type in self.cell_types}

    def op_weights(self) -> dict[str, Tensor]:
        """Return what the relaxation makes of alpha, ``op_EO`` of each cell type; where weights are drawn, the expected ones."""
        expected = self.relax.expected if isinstance(self.relax, Sampled) else lambda alpha_EO: self.relax(alpha_EO).op_EO
        return {cell_type: expected(alpha_EO) for cell_type, alpha_EO in self.op_alphas().items()}

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
        """Return the present weights ``op_EO`` of each cell type, detached, on the CPU; where they are drawn, the expected ones."""
        with torch.no_grad():
            return {cell_type: op_EO.detach().cpu().clone() for cell_type, op_EO in self.op_weights().items()}

    def edge_mixture(self) -> dict[str, Tensor]:
        """Return the present weights ``edge_E`` of each cell type, detached, on the CPU; none where edges have no weights."""
        with torch.no_grad():
            found = {cell_type: self._edges(cell_type) for cell_type in self.cell_types}
        return {cell_type: edge_E.detach().cpu().clone() for cell_type, edge_E in found.items() if edge_E is not None}


def _of_edges(cell_type: str) -> str:
    return f"{cell_type}_edges"
