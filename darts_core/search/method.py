"""A method is a frozen set of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.config import SearchConfig
from darts_core.genotype import Genotype
from darts_core.search.bilevel import ARCH_GRADIENTS, ArchGradient, Exact, FirstOrder, Still, Unrolled
from darts_core.search.costs import ExpectedCost, check_costs
from darts_core.search.curvature import AdaptiveDecay
from darts_core.search.derive import DeriveRule, SkipLimited, strongest_edges
from darts_core.search.missed import MostMissed
from darts_core.search.penalties import Penalty
from darts_core.search.perturb import Perturbation
from darts_core.search.phases import Phase, check_phases, spans
from darts_core.search.ranges import at_least, in_range
from darts_core.search.reinforce import Reinforce
from darts_core.search.relax import softmax_edges
from darts_core.search.select import Selection
from darts_core.search.stop import SkipLimit, StableRanking, StopRule
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
    """Return Adam with the reference's betas, which are those of images unless others are given."""
    return torch.optim.Adam(alphas, lr=lr, betas=betas, weight_decay=weight_decay)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What distinguishes one search from another; the engine runs any combination.

    ``relax`` maps alpha_EO to weights, ``relax_edges`` beta_E to those of the edges, ``start`` what was drawn for alpha and beta to what
    they begin as, and ``project``, given how many edges lead to each node, brings them back where they belong, then and after each step;
    ``mixed`` spends the weights on an edge, of whose channels candidates see one in ``channel_proportion``.
    ``arch_gradient`` and the gradients of ``penalties`` move alpha and beta by way of ``arch_optimizer`` (parameters, learning rate, weight
    decay) from epoch ``warmup_epochs`` on; ``perturb`` chooses the weights of the operations that a weight step sees.
    ``auxiliary_skip`` maps the share of the epochs that are over to the weight of a skip connection more on every edge. Any of the rules
    ``stop`` ends the search; ``derive`` makes the genotype. ``temperature`` is that of a relaxation that draws, by the epoch. ``select``
    chooses an architecture after the last epoch, where alpha does not. With several ``phases``, among which the epochs are divided evenly,
    the supernet is made again where one begins; ``warmup_epochs`` are then those of each, and ``stop`` is looked at in the last one alone.
    ``restart`` says how a search goes on after a rise of the curvature, which is measured every ``hessian_every`` epochs where
    ``search.hessian_every`` is 0. The weights decay by ``weight_decay_factor`` times ``search.weight_decay``; paths are dropped in weight
    steps with a probability that grows to ``drop_path_prob``. Operations that weigh less than ``prune_below`` after an epoch are not
    computed any more.
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
    select: Selection | None = None
    phases: tuple[Phase, ...] = (Phase(),)
    restart: AdaptiveDecay | None = None
    hessian_every: int = 0
    weight_decay_factor: float = 1.0
    drop_path_prob: float = 0.0
    prune_below: float | None = None

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


def with_parts(
    method: Method,
    *,
    arch_gradient: Literal["first", "unrolled", "exact"] | None = None,
    channel_proportion: int | None = None,
    edge_weights: bool | None = None,
    warmup_epochs: int | None = None,
    stable_epochs: int | None = None,
    selection: Literal["perturbation"] | None = None,
    tune_epochs: int | None = None,
    prune_below: float | None = None,
) -> Method:
    """Return ``method`` with these parts in the place of its own; null leaves a part as it is. They are options of every method.

    ``arch_gradient`` names the gradient of alpha; ``channel_proportion`` lets one channel in so many through the candidates and
    ``edge_weights`` gives edges a softmax of their own (both PC-DARTS, arXiv:1907.05737); ``warmup_epochs`` are those in which the weights
    move alone; the search also ends once the order of the operations has been the same on every edge for ``stable_epochs`` epochs.
    ``selection`` chooses the architecture after the last epoch, ``perturbation`` as in DARTS-PT (arXiv:2108.04392), with ``tune_epochs``
    epochs (null: 5) between two decisions. Operations that weigh less than ``prune_below`` after an epoch are not computed any more.
    """
    parts: dict[str, Any] = {}
    given = {
        "arch_gradient": arch_gradient,
        "warmup_epochs": warmup_epochs,
        "stable_epochs": stable_epochs,
        "prune_below": prune_below,
    }
    if isinstance(method.arch_gradient, Still) and any(value is not None for value in given.values()):
        named = ", ".join(f"method.{name}" for name, value in given.items() if value is not None)
        raise ValueError(f"{named}: leave it out, for this method never moves alpha, and chooses by the shared weights in the end.")
    if arch_gradient is not None:
        parts["arch_gradient"] = _gradient(method, arch_gradient)
    if channel_proportion is not None:
        if any(phase.channel_proportion is not None for phase in method.phases):
            raise ValueError(f"method.channel_proportion: leave it out, for the phases have their own. Got {channel_proportion}.")
        parts["channel_proportion"] = at_least(1, "channel_proportion", channel_proportion)
    if edge_weights and isinstance(method.arch_gradient, Reinforce):
        raise ValueError("method.edge_weights must be false or null with REINFORCE, which moves what is drawn: edges are not.")
    if edge_weights is not None:
        parts["relax_edges"] = softmax_edges if edge_weights else None
    if warmup_epochs is not None:
        parts["warmup_epochs"] = at_least(0, "warmup_epochs", warmup_epochs)
    if stable_epochs is not None:
        parts["stop"] = (*method.stop, StableRanking(at_least(1, "stable_epochs", stable_epochs)))
    if prune_below is not None:
        parts["prune_below"] = _limit(method, prune_below)
    if (select := _selection(method, selection, tune_epochs)) is not None:
        parts["select"] = select
    return replace(method, **parts)


def _gradient(method: Method, name: str) -> ArchGradient:
    if not isinstance(method.arch_gradient, FirstOrder | Unrolled | Exact):
        raise ValueError(f"method.arch_gradient: leave it out, for this method has a gradient of its own. Got '{name}'.")
    if name != "first" and method.draws:
        raise ValueError(
            "method.arch_gradient must be first where each forward pass draws anew, weights of the operations or values on "
            "skip connections that are left out: the second order compares passes that differ in the network's weights alone. "
            f"Got '{name}'."
        )
    return ARCH_GRADIENTS.build(name)


def _limit(method: Method, below: float) -> float:
    if isinstance(method.relax, Sampled) or method.project is not None:
        raise ValueError(
            "method.prune_below: leave it out, for this method draws its weights or keeps them on the simplex, and what is light may grow "
            f"again. Got {below:g}."
        )
    return in_range(below, "prune_below", above=0.0, below=1.0)


def _selection(method: Method, selection: str | None, tune_epochs: int | None) -> Selection | None:
    if selection is None:
        if tune_epochs is not None:
            raise ValueError(
                f"method.tune_epochs has an effect with method.selection: perturbation alone. Set it to null. Got {tune_epochs}."
            )
        return None
    if method.select is not None:
        raise ValueError(f"method.selection: leave it out, for this method has a selection of its own. Got '{selection}'.")
    if isinstance(method.derive, SkipLimited):
        raise ValueError(
            f"method.selection: leave it out: it would choose past method.skip_limit, which has no say in it. Got '{selection}'."
        )
    return MostMissed(tune_epochs=5 if tune_epochs is None else at_least(0, "tune_epochs", tune_epochs))


def check_warmup(method: Method, cfg: SearchConfig) -> None:
    """Raise ``ValueError`` where alpha would never move although it should, or where something is asked for that would never happen."""
    if cfg.hessian_every and isinstance(method.arch_gradient, Still):
        raise ValueError(f"search.hessian_every must be 0 with a method that never moves alpha. Got {cfg.hessian_every}.")
    if cfg.hessian_every and isinstance(method.relax, Joint):
        raise ValueError(
            f"search.hessian_every must be 0 with a method that has a controller in the place of alpha. Got {cfg.hessian_every}."
        )
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


def check_space(method: Method, space: Space) -> None:
    """Raise ``ValueError`` where ``space`` does not suit a phase of the method, its operations have no cost, or it cannot have a part."""
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
