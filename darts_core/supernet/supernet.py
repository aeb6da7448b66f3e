"""What every relaxed network has: architecture parameters, what a relaxation makes of them, and weights apart from both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.genotype import Genotype
from darts_core.metrics import top_k_accuracy
from darts_core.ops.native.library import CELL
from darts_core.supernet.arch import ArchParameters
from darts_core.supernet.backend import Backend, Reference
from darts_core.supernet.kept import Kept
from darts_core.supernet.offer import EdgePrimitives, offers
from darts_core.supernet.policy import Drawn, Joint, Policy, path_of
from darts_core.supernet.pruned import Pruned
from darts_core.supernet.sampled import Sampled, Weights
from darts_core.supernet.shape import CellShape
from darts_core.supernet.skip_dropout import SkipDropout

Relaxation = Callable[[Tensor], Weights]
EdgeRelaxation = Callable[[Tensor, Sequence[int]], Tensor]
"""(beta_E, how many edges lead to each node) -> the weight of each edge among those that lead to its node."""


class Supernet(nn.Module):
    """The architecture of a network in which every edge is a mixture of candidate operations; subclasses add the network.

    ``cell_types`` are those of its cells, all of one ``shape``. ``relax`` turns ``alpha_EO`` into weights; with ``relax_edges`` there is a
    ``beta_E`` for each cell type, too. Where not all ``primitives`` stand on every edge, ``edge_primitives`` names those of each;
    ``offers`` says so of every cell type. ``use`` chooses how it is computed; until then it is the published forward.
    """

    arch_betas: tuple[float, float] = (0.5, 0.999)
    """Those of the reference's Adam for alpha."""
    clips_virtual_step = False
    """Whether the virtual step of the second order is clipped as the weight step is; the reference does so for texts alone."""
    held_virtually: frozenset[str] = frozenset()
    """Weights that the virtual step of the finite difference leaves where they are, because the reference's does."""
    backends: tuple[str, ...] = ("reference", "eager", "native", "compiled")
    kernels: Path = CELL
    """The source of the kernels that ``native`` computes it by."""
    can_be_lean = True
    ranks_by_loss = False
    auxiliary_weight: Tensor | None
    _imposed: Mapping[str, Weights] | None = None
    _kept: Mapping[str, Kept] | None = None
    _is_path = False
    is_lean = False

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        shape: CellShape,
        cell_types: Sequence[str],
        relax: Relaxation,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
        edge_primitives: EdgePrimitives | None = None,
    ) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.shape = shape
        self.cell_types = tuple(cell_types)
        self.relax_edges = relax_edges
        self.offers = offers(self.cell_types, self.primitives, edge_primitives, edges=len(shape.sources))
        self.arch = ArchParameters(self._alpha_shapes(has_alphas=not isinstance(relax, Joint)), generator=generator)
        self.relax = self._own(relax, generator)
        self.skip_dropout: SkipDropout | None = None
        self.pruned: Pruned | None = None
        self.backend: Backend = Reference()

    def _alpha_shapes(self, *, has_alphas: bool) -> dict[str, tuple[int, ...]]:
        shapes = {name: own for offer in self.offers.values() for name, own in offer.shapes.items() if has_alphas}
        beta = () if self.relax_edges is None else self.cell_types
        return {**shapes, **{_of_edges(cell_type): (len(self.shape.sources),) for cell_type in beta}}

    def add_skip_dropout(self, generator: torch.Generator) -> None:
        """Let the skip connections of all cells leave values out at the rate ``skip_dropout.rate``; masks are seeded from ``generator``."""
        raise NotImplementedError

    def use(self, backend: Backend, device: torch.device, *, is_lean: bool = False) -> None:
        """Move to ``device`` and compute by ``backend``; ``is_lean`` keeps less for the backward pass and computes the rest again."""
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

    def scores(self, inputs: Any) -> Any:
        """Return what :meth:`loss` reads: the logits, or what it can make its own of, faster."""
        return self.regularised(inputs)[0]

    def regularised(self, inputs: Any) -> tuple[Any, Tensor | None]:
        """Return the :meth:`scores` of a weight step, and what is added to their loss, if anything is."""
        return self(inputs), None

    def loss(self, scores: Any, targets: Tensor) -> Tensor:
        """Return the mean cross entropy of :meth:`scores` or of logits (B, K), a scalar."""
        return F.cross_entropy(scores, targets)

    def graded(self, scores: Any, targets: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Return the :meth:`loss`, and what gives the accuracy in percent, a scalar, once somebody asks."""
        logits = scores.detach()
        return self.loss(scores, targets), lambda: top_k_accuracy(logits, targets)

    def only_for_reference(self) -> list[str]:
        """Return the operations that no backend but the reference can compute."""
        return []

    def assessing(self) -> None:
        """Compute as the held-out loss of an epoch is told: in evaluation mode. Ends with ``train()``; no BatchNorm may move meanwhile."""
        self.eval()

    def ranking(self) -> None:
        """Compute as architectures are ranked: each batch is normalised by its own statistics. Ends with ``train()`` or ``eval()``."""
        self.train()

    def quality(self, inputs: Any, targets: Tensor) -> Tensor:
        """Return what architectures are ranked by on a batch, the higher the better, a scalar.

        The accuracy in percent, or, where it ``ranks_by_loss``, minus the mean cross entropy, nats.
        """
        if self.ranks_by_loss:
            return torch.nan_to_num(-self.loss(self.scores(inputs), targets), nan=-math.inf, neginf=-math.inf)
        return top_k_accuracy(self(inputs), targets)

    def quality_text(self, quality: float) -> str:
        """Return a mean :meth:`quality` for people."""
        return f"a loss of {-quality:.4f}" if self.ranks_by_loss else f"{quality:.2f} %"

    def count_macs(self, batch_shape: tuple[int, ...]) -> int:
        """Return the MACs of a forward pass over a batch of this shape."""
        raise NotImplementedError

    def lr_scale(self, inputs: Any) -> float:
        """Return what the learning rate is multiplied by for a batch."""
        return 1.0

    def dropping(self, scale_CEB: Tensor) -> AbstractContextManager[None]:
        """Within, whatever each edge of each cell adds but the state as it is, is multiplied by a number for each image of the batch."""
        raise NotImplementedError

    def _spent(self) -> Mapping[str, Weights]:
        """Return the weights of this forward pass, of each cell type."""
        weights = self._imposed or self._relaxed()
        for kept in (None if self.pruned is None or self._is_path else self.pruned.kept, self._kept):
            if kept is not None:
                weights = {cell_type: kept[cell_type].of(each) for cell_type, each in weights.items()}
        return weights

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
        like = next(iter(self.weights().values()))
        return path_of(genotype.cell(cell_type), offer=self.offers[cell_type], shape=self.shape, like=like)

    def start_pruning(self) -> None:
        """Keep account of operations that are not computed any more: none so far."""
        self.pruned = Pruned(self.mixture(), {cell_type: offer.ops for cell_type, offer in self.offers.items()})

    def _edges(self, cell_type: str, scale_E: Tensor | None = None) -> Tensor | None:
        if self.relax_edges is None:
            return scale_E
        edge_E = self.relax_edges(self.arch.get(_of_edges(cell_type)), self.shape.fan_in)
        return edge_E if scale_E is None else edge_E * scale_E

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
