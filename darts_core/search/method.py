"""A method is a frozen set of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.config import SearchConfig
from darts_core.genotype import Genotype
from darts_core.search.bilevel import ArchGradient, FirstOrder, Still
from darts_core.search.controller import SKIP_OR_NOT
from darts_core.search.costs import ExpectedCost, check_costs
from darts_core.search.curvature import AdaptiveDecay
from darts_core.search.derive import DeriveRule, strongest_edges
from darts_core.search.penalties import Penalty
from darts_core.search.perturb import Perturbation
from darts_core.search.phases import Phase, check_phases, spans
from darts_core.search.reinforce import Reinforce
from darts_core.search.select import Selection, TrainedAlone
from darts_core.search.stop import SkipLimit, StopRule
from darts_core.search.temperature import Schedule
from darts_core.spaces.space import CellSpace, Space
from darts_core.supernet.mixed import MixedOp, dense
from darts_core.supernet.offer import EdgePrimitives
from darts_core.supernet.policy import Joint
from darts_core.supernet.sampled import Sampled
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet

ArchOptimizer = Callable[[Iterable[nn.Parameter], float, float], Optimizer]


def adam(alphas: Iterable[nn.Parameter], lr: float, weight_decay: float, *, betas: tuple[float, float] = (0.5, 0.999)) -> Optimizer:
    """Return Adam with the reference's betas, which are those of images unless others are given; there may be no alphas."""
    return torch.optim.Adam([{"params": list(alphas)}], lr=lr, betas=betas, weight_decay=weight_decay)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What distinguishes one search from another; the engine runs any combination.

    ``relax`` maps alpha_EO to weights, ``relax_edges`` beta_E to those of the edges, ``start`` what was drawn for alpha and beta to what
    they begin as, and ``project``, given how many edges lead to each node, brings them back where they belong, then and after each step;
    ``mixed`` spends the weights on an edge, of whose channels candidates see one in ``channel_proportion``.
    ``arch_gradient`` and the gradients of ``penalties`` move alpha and beta by way of ``arch_optimizer`` (parameters, learning rate, weight
    decay) from epoch ``warmup_epochs`` on; ``perturb`` chooses the weights of the operations that a weight step sees.
    ``auxiliary_skip`` maps the share of the epochs that are over to the weight of a skip connection more on every edge. Any of the
    rules ``stop`` ends the search; ``derive`` makes the genotype. ``temperature`` is that of a relaxation that draws, by the epoch.
    ``select`` chooses an architecture after the last epoch, where alpha does not, or is :class:`TrainedAlone`: then no supernet is
    trained. With several ``phases``, among which the epochs are divided evenly, the supernet is made again where one begins;
    ``warmup_epochs`` are then those of each, and ``stop`` is looked at in the last one alone. ``restart`` says how a search goes on
    after a rise of the curvature, which is measured every ``hessian_every`` epochs where ``search.hessian_every`` is 0. The weights
    decay by ``weight_decay_factor`` times ``search.weight_decay``; paths are dropped in weight steps with a probability that grows to
    ``drop_path_prob``. Operations that weigh less than ``prune_below`` after an epoch are not computed any more. The norm of the
    gradient of alpha and beta together is at most ``arch_grad_clip`` when they move.
    """

    relax: Relaxation
    mixed: MixedOp = dense
    arch_gradient: ArchGradient = field(default_factory=FirstOrder)
    arch_optimizer: ArchOptimizer = adam
    penalties: tuple[Penalty, ...] = ()
    perturb: Perturbation | None = None
    stop: tuple[StopRule, ...] = ()
    derive: DeriveRule = strongest_edges
    relax_edges: EdgeRelaxation | None = None
    channel_proportion: int = 1
    warmup_epochs: int = 0
    auxiliary_skip: Callable[[float], float] | None = None
    start: Callable[[Tensor], Tensor] | None = None
    project: Callable[[Tensor, Sequence[int]], Tensor] | None = None
    temperature: Schedule | None = None
    select: Selection | TrainedAlone | None = None
    phases: tuple[Phase, ...] = (Phase(),)
    restart: AdaptiveDecay | None = None
    hessian_every: int = 0
    weight_decay_factor: float = 1.0
    drop_path_prob: float = 0.0
    prune_below: float | None = None
    arch_grad_clip: float | None = None

    @property
    def drops_skips(self) -> bool:
        """Whether values on skip connections are left out in any phase."""
        return any(phase.skip_dropout for phase in self.phases)

    @property
    def draws(self) -> bool:
        """Whether forward passes differ by what is drawn in them."""
        return isinstance(self.relax, Sampled) or self.drops_skips

    def proportion(self, phase: int) -> int:
        """Return of how many channels one goes through the candidates in ``phase`` (from 0)."""
        return self.phases[phase].channel_proportion or self.channel_proportion

    def derived(
        self,
        op_EO: Mapping[str, Tensor],
        *,
        primitives: Sequence[str],
        shape: CellShape,
        space: str,
        edge_E: Mapping[str, Tensor] | None = None,
    ) -> Genotype:
        """Return the genotype of a search that is over: by ``derive``, or what ``select`` has chosen, whose weights are 0 and 1."""
        if self.select is None:
            return self.derive(op_EO, primitives=primitives, shape=shape, space=space, edge_E=edge_E)
        return replace(strongest_edges(op_EO, primitives=primitives, shape=shape, space=space), rule=self.select.rule)

    def is_still(self, epoch: int) -> bool:
        """Return whether alpha stands still in ``epoch`` (from 0) of a phase."""
        return epoch < self.warmup_epochs or isinstance(self.arch_gradient, Still)

    def supernet(
        self,
        space: Space,
        *,
        in_channels: int,
        num_classes: int,
        generator: torch.Generator,
        phase: int = 0,
        edge_primitives: EdgePrimitives | None = None,
    ) -> Supernet:
        """Return the supernet of ``space`` as this method relaxes it; alpha is drawn from ``generator``, the weights from torch's own.

        ``phase`` (from 0) says how deep and wide it is, ``edge_primitives`` what the phases before it have left on each edge.
        """
        searched = self.phases[phase].space(space, edge_primitives) if isinstance(space, CellSpace) else space
        supernet = searched.supernet(
            in_channels=in_channels,
            num_classes=num_classes,
            relax=self.relax,
            mixed=self.mixed,
            generator=generator,
            relax_edges=self.relax_edges,
            channel_proportion=self.proportion(phase),
            auxiliary_skips=self.auxiliary_skip is not None,
        )
        if self.drops_skips:
            supernet.add_skip_dropout(generator)
        if self.start is not None:
            with torch.no_grad():
                for alpha in supernet.arch_parameters():
                    alpha.copy_(self.start(alpha))
        self.bring_back(supernet)
        if self.prune_below is not None:
            supernet.start_pruning()
            lightest = min(float(rows.min()) for c, offer in supernet.offers.items() for rows in offer.gathered(supernet.mixture()[c]))
            if self.prune_below >= lightest:
                raise ValueError(
                    f"method.prune_below must be less than {lightest:.3g}, the least that an operation weighs at first. "
                    f"Got {self.prune_below:g}."
                )
        return supernet

    @torch.no_grad()
    def bring_back(self, supernet: Supernet) -> None:
        """Project the architecture parameters of ``supernet`` where the method does so."""
        if self.project is not None:
            for alpha in supernet.arch_parameters():
                alpha.copy_(self.project(alpha, supernet.shape.fan_in))


def check_warmup(method: Method, cfg: SearchConfig) -> None:
    """Raise ``ValueError`` where alpha would never move although it should, or where something is asked for that would never happen."""
    if cfg.hessian_every and isinstance(method.arch_gradient, Still):
        raise ValueError(f"search.hessian_every must be 0 with a method that never moves alpha. Got {cfg.hessian_every}.")
    if cfg.hessian_every and isinstance(method.relax, Joint):
        raise ValueError(
            f"search.hessian_every must be 0 with a method that has a controller in the place of alpha. Got {cfg.hessian_every}."
        )
    if cfg.rank_samples and isinstance(method.select, TrainedAlone):
        raise ValueError(f"search.rank_samples must be 0 with method.shared_weights: false, which has no supernet. Got {cfg.rank_samples}.")
    decay = cfg.weight_decay * method.weight_decay_factor
    if method.restart is not None and not method.restart.can_raise(decay):
        raise ValueError(
            f"method.adaptive must be false where search.weight_decay times method.weight_decay_factor is 0 or more than "
            f"{method.restart.limit / method.restart.factor:g}: there is nothing to raise. Got {decay:g}."
        )
    if method.weight_decay_factor != 1.0 and cfg.weight_decay == 0.0:
        raise ValueError(f"method.weight_decay_factor must be 1 where search.weight_decay is 0. Got {method.weight_decay_factor:g}.")
    if (shortest := min(span.epochs for span in spans(method.phases, cfg.epochs))) <= method.warmup_epochs:
        where = (
            "" if len(method.phases) == 1 else f" at the start of each of {len(method.phases)} phases (the shortest has {shortest} epochs)"
        )
        raise ValueError(
            f"search.epochs must be more than method.warmup_epochs, {method.warmup_epochs}, in which alpha stands still{where}: "
            f"raise it, or lower method.warmup_epochs. Got {cfg.epochs}."
        )


def require_supernet(method: Method) -> None:
    """Raise ``ValueError`` where a method trains architectures one by one, and a supernet is there."""
    if isinstance(method.select, TrainedAlone):
        raise ValueError("method.shared_weights must be true here: the pipeline alone trains architectures one by one. Got false.")


def check_space(method: Method, space: Space) -> None:
    """Raise ``ValueError`` where ``space`` does not suit a phase of the method, its operations have no cost, or it cannot have a part."""
    _check_skip_rate(method, space)
    if isinstance(space, CellSpace):
        check_phases(method.phases, space)
        check_costs(method.penalties, space.primitives)
        return
    for key, is_there in (
        ("name: a method of one phase", method.phases != (Phase(),)),
        ("channel_proportion: 1", method.channel_proportion != 1),
        ("name: a method without auxiliary skip connections", method.auxiliary_skip is not None),
        ("name: a method that counts no skip connections", any(isinstance(rule, SkipLimit) for rule in method.stop)),
        ("drop_path_prob: 0, for recurrent cells have no paths to drop,", method.drop_path_prob != 0.0),
        ("resource or latency_ms: null", any(isinstance(each, ExpectedCost) for each in method.penalties)),
    ):
        if is_there:
            raise ValueError(f"method.{key} expected with space.name: {space.name}.")


def _check_skip_rate(method: Method, space: Space) -> None:
    gradient = method.arch_gradient
    if not isinstance(gradient, Reinforce) or gradient.skip_rate is None:
        return
    if not any(set(names) == SKIP_OR_NOT for offer in space.offers().values() for names in offer.names):
        raise ValueError(
            f"method.skip_weight must be 0 with space.name: {space.name}, where no edge is a choice between a skip connection and none. "
            f"Got {gradient.skip_rate.weight:g}."
        )
