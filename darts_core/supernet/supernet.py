"""The network in which every edge is a mixture of candidate operations (Liu et al., ICLR 2019, arXiv:1806.09055)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from darts_core.genotype import CELL_TYPES, Genotype
from darts_core.nets.skeleton import CellPlan, DartsFrame, Frame, Stem, pooled
from darts_core.supernet.arch import ArchParameters
from darts_core.supernet.backend import Backend, Reference
from darts_core.supernet.cell import SearchCell
from darts_core.supernet.kept import Kept
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.offer import EdgePrimitives, offers
from darts_core.supernet.policy import Drawn, Joint, Policy, one_path
from darts_core.supernet.pruned import Pruned
from darts_core.supernet.recompute import recomputed
from darts_core.supernet.sampled import Sampled, Weights
from darts_core.supernet.shape import CellShape
from darts_core.supernet.skip_dropout import SkipDropout

Relaxation = Callable[[Tensor], Weights]
EdgeRelaxation = Callable[[Tensor, Sequence[int]], Tensor]
"""(beta_E, how many edges lead to each node) -> the weight of each edge among those that lead to its node."""


class Supernet(nn.Module):
    """Stem, cells of mixed operations, classifier. BatchNorm is affine outside the cells only.

    ``cell_types`` are those of the cells that ``frame`` sets, all of one ``shape``. ``relax`` turns ``alpha_EO`` into weights, ``mixed``
    says how an edge spends them; with ``relax_edges`` there is a ``beta_E`` for each cell type, too. Candidates see one of
    ``channel_proportion`` channels. Images from 8 to 224 pixels, odd sizes too. With ``auxiliary_skips`` every edge has a skip connection
    more, outside alpha, weighed by the scalar ``auxiliary_weight`` (DARTS-, arXiv:2009.01027), which the search lets decay. Where not all
    ``primitives`` stand on every edge, ``edge_primitives`` names those of each; ``offers`` says so of every cell type.
    ``use`` chooses how it is computed; until then it is the published forward.
    """

    _imposed: Mapping[str, Weights] | None = None
    _kept: Mapping[str, Kept] | None = None
    _paths: Tensor | None = None
    _is_path = False
    is_lean = False

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        shape: CellShape,
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
        auxiliary_skips: bool = False,
        cell_types: Sequence[str] = CELL_TYPES,
        frame: Frame | None = None,
        edge_primitives: EdgePrimitives | None = None,
    ) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.shape = shape
        self.cell_types = tuple(cell_types)
        self.in_channels = in_channels
        self.relax_edges = relax_edges
        self.offers = offers(self.cell_types, self.primitives, edge_primitives, edges=len(shape.sources))
        self.arch = ArchParameters(self._alpha_shapes(has_alphas=not isinstance(relax, Joint)), generator=generator)
        self.relax = self._own(relax, generator)
        frame = DartsFrame() if frame is None else frame
        width = dict.fromkeys(self.cell_types, len(shape.concat))
        skeleton = frame.build(in_channels=in_channels, init_channels=init_channels, layers=layers, stem=stem, width=width)
        self.stem = skeleton.stem
        cell = partial(SearchCell, self.primitives, shape, mixed=mixed, channel_proportion=channel_proportion)
        self.cells = nn.ModuleList(
            cell(plan, edges=self.offers[plan.cell_type].names) if isinstance(plan, CellPlan) else plan.build() for plan in skeleton.plans
        )
        self.type_of_cell = [plan.cell_type if isinstance(plan, CellPlan) else None for plan in skeleton.plans]
        self.fits_inputs = all(plan.fits_inputs for plan in skeleton.plans if isinstance(plan, CellPlan))
        self.head = skeleton.head
        self.classifier = nn.Linear(skeleton.channels, num_classes)
        self._add_auxiliary_skips(auxiliary_skips)  # last, so that all other weights are drawn alike without them
        self.skip_dropout: SkipDropout | None = None
        self.pruned: Pruned | None = None
        self.backend: Backend = Reference()
        self.backend.prepare(self, torch.device("cpu"))

    def _alpha_shapes(self, *, has_alphas: bool) -> dict[str, tuple[int, ...]]:
        shapes = {name: own for offer in self.offers.values() for name, own in offer.shapes.items() if has_alphas}
        beta = () if self.relax_edges is None else self.cell_types
        return {**shapes, **{_of_edges(cell_type): (len(self.shape.sources),) for cell_type in beta}}

    def _add_auxiliary_skips(self, wanted: bool) -> None:
        self.auxiliary_weight: Tensor | None
        self.register_buffer("auxiliary_weight", torch.ones(()) if wanted else None)
        for cell in self.cells if wanted else ():
            if isinstance(cell, SearchCell):
                cell.add_auxiliary_skips()

    def add_skip_dropout(self, generator: torch.Generator) -> None:
        """Let the skip connections of all cells leave values out at the rate ``skip_dropout.rate``; masks are seeded from ``generator``."""
        self.skip_dropout = SkipDropout().fresh(generator)
        for cell in self.cells:
            if isinstance(cell, SearchCell):
                cell.add_skip_dropout()

    def use(self, backend: Backend, device: torch.device, *, is_lean: bool = False) -> None:
        """Move to ``device`` and compute by ``backend``; ``is_lean`` keeps less for the backward pass and computes the rest again."""
        self.backend, self.is_lean = backend, is_lean
        self.__dict__.pop("_weights", None)
        backend.prepare(self, device)
        self.to(device).to(memory_format=backend.memory_format(device))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C_in, H, W) to logits (B, K)."""
        weights = self._imposed or self._relaxed()
        for kept in (None if self.pruned is None or self._is_path else self.pruned.kept, self._kept):
            if kept is not None:
                weights = {cell_type: kept[cell_type].of(each) for cell_type, each in weights.items()}
        given = {cell_type: (each.spent(), self._edges(cell_type, each.edge_E)) for cell_type, each in weights.items()}
        states = self._enter(self.stem(x))
        is_lean = self.is_lean and torch.is_grad_enabled()
        rate, seed = (0.0, 0) if self.skip_dropout is None else self.skip_dropout.draw()
        forgetful = self.backend.forgetting_edges() if is_lean else None
        is_forgotten = is_lean and forgetful is None  # cells as wholes
        for number, (cell_type, cell) in enumerate(zip(self.type_of_cell, self.cells), start=1):
            if cell_type is None:
                states = [recomputed([cell], cell, states[-1]) if is_lean else cell(states[-1])]
                continue
            compute = partial(
                cell,
                backend=forgetful or self.backend,
                is_last=number == len(self.cells),
                active=weights[cell_type].active,
                auxiliary=self.auxiliary_weight,
                dropout=(rate, seed + number * len(self.shape.sources)),
                paths=None if self._paths is None else self._paths[number - 1],
            )
            inputs = (states, *given[cell_type])
            states = [*states[1:], recomputed([cell], compute, *inputs) if is_forgotten else compute(*inputs)]
        return self.classifier(pooled(self.head(states[-1])))

    def _own(self, relax: Relaxation, generator: torch.Generator) -> Relaxation:
        if isinstance(relax, Joint):
            return relax.fitted(self.offers, self.shape, generator=generator)
        return relax.fresh(generator) if isinstance(relax, Sampled) else relax

    def _relaxed(self) -> Mapping[str, Weights]:
        if isinstance(self.relax, Joint):
            return self.relax.together()
        return {cell_type: offer.relaxed(self.arch.get, self.relax) for cell_type, offer in self.offers.items()}

    @contextmanager
    def imposing(self, weights: Mapping[str, Weights]) -> Iterator[None]:
        """Within, forward passes spend ``weights`` of each cell type, whatever alpha says."""
        before, self._imposed = self._imposed, weights
        try:
            yield
        finally:
            self._imposed = before

    def weighing(self, op_EO: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Within, forward passes weigh the operations of each cell type by ``op_EO``, whatever alpha says."""
        return self.imposing({cell_type: Weights(weights, self.offers[cell_type].active) for cell_type, weights in op_EO.items()})

    @contextmanager
    def keeping(self, kept: Mapping[str, Kept]) -> Iterator[None]:
        """Within, forward passes compute what is ``kept`` of each cell type's operations, whoever weighs them."""
        before, self._kept = self._kept, kept
        try:
            yield
        finally:
            self._kept = before

    @contextmanager
    def dropping(self, scale_CEB: Tensor) -> Iterator[None]:
        """Within, whatever each edge of each cell adds but the state as it is, is multiplied by a number for each image of the batch."""
        before, self._paths = self._paths, scale_CEB
        try:
            yield
        finally:
            self._paths = before

    @contextmanager
    def only(self, genotype: Genotype) -> Iterator[None]:
        """Within, forward passes compute the operations of ``genotype`` alone, each with weight 1, pruned ones, too."""
        before, self._is_path = self._is_path, True
        try:
            with self.imposing({cell_type: self.path(genotype, cell_type) for cell_type in self.cell_types}):
                yield
        finally:
            self._is_path = before

    def path(self, genotype: Genotype, cell_type: str) -> Weights:
        """Return 1 for the operation on each edge of a genotype's cell; edges that it lacks weigh nothing, by the cheapest operation."""
        chosen = {(edge.src, dst): self.primitives.index(edge.op) for dst, edge in genotype.cell(cell_type).edges}
        return one_path(chosen, offer=self.offers[cell_type], shape=self.shape, like=self.classifier.weight)

    def start_pruning(self) -> None:
        """Keep account of operations that are not computed any more: none so far."""
        self.pruned = Pruned(self.mixture(), {cell_type: offer.ops for cell_type, offer in self.offers.items()})

    def _edges(self, cell_type: str, scale_E: Tensor | None = None) -> Tensor | None:
        if self.relax_edges is None:
            return scale_E
        edge_E = self.relax_edges(self.arch.get(_of_edges(cell_type)), self.shape.fan_in)
        return edge_E if scale_E is None else edge_E * scale_E

    def _enter(self, states: Sequence[Tensor]) -> list[Tensor]:
        if not self.fits_inputs:
            return list(states)
        entered = {id(s): self.backend.enter(s) for s in states}
        return [entered[id(s)] for s in states]

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
        """Return the operations' ``alpha_EO`` by name: one of each cell type, or where its edges differ in number, several (``Offer``).

        There are none where the relaxation has parameters of its own.
        """
        if isinstance(self.relax, Joint):
            return {}
        return {rows.name: self.arch.get(rows.name) for offer in self.offers.values() for rows in offer.rows}

    def drawn(self) -> Drawn:
        """Return an architecture that the relaxation, a policy, draws."""
        assert isinstance(self.relax, Policy)
        return self.relax.draw(self.op_alphas(), self.offers)

    def op_weights(self) -> dict[str, Tensor]:
        """Return what the relaxation makes of alpha, ``op_EO`` of each cell type; where weights are drawn, the expected ones.

        An operation that an edge does not offer weighs 0 there.
        """
        if isinstance(self.relax, Joint):
            return self.relax.marginals()
        expected = self.relax.expected if isinstance(self.relax, Sampled) else lambda alpha_EO: self.relax(alpha_EO).op_EO
        weights = {
            cell_type: offer.spread([expected(self.arch.get(rows.name)) for rows in offer.rows]) for cell_type, offer in self.offers.items()
        }
        if self.pruned is None:
            return weights
        return {cell_type: self.pruned.kept[cell_type].of(Weights(op_EO)).op_EO for cell_type, op_EO in weights.items()}

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return the architecture parameters, which only the arch step moves."""
        own = self.relax.parameters() if isinstance(self.relax, Joint) else ()
        return [*self.arch.parameters(), *own]

    def weights(self) -> dict[str, nn.Parameter]:
        """Return every other parameter by name: what the weight step moves, decays and clips.

        Modules that are replaced count after the next ``use``.
        """
        return {name: getattr(module, own) for name, module, own in self._weights}

    @cached_property
    def _weights(self) -> list[tuple[str, nn.Module, str]]:
        """Name, module and the module's name for it of each weight: to walk thousands of modules takes as long as a small cell."""
        names = [name for name, _ in self.named_parameters() if not name.startswith(("arch.", "relax."))]
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
