"""A method is a frozen set of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.config import SearchConfig
from darts_core.search.bilevel import ARCH_GRADIENTS, ArchGradient, Exact, FirstOrder, Still, Unrolled
from darts_core.search.derive import DeriveRule, strongest_edges
from darts_core.search.penalties import Penalty
from darts_core.search.perturb import Perturbation
from darts_core.search.ranges import at_least
from darts_core.search.relax import softmax_edges
from darts_core.search.select import Selection
from darts_core.search.stop import StableRanking, StopRule
from darts_core.search.temperature import Schedule
from darts_core.spaces.space import Space
from darts_core.supernet.mixed import MixedOp, dense
from darts_core.supernet.sampled import Sampled
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
    chooses an architecture after the last epoch, where alpha does not.
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

    def is_still(self, epoch: int) -> bool:
        """Return whether alpha stands still in ``epoch`` (from 0)."""
        return epoch < self.warmup_epochs or isinstance(self.arch_gradient, Still)

    def supernet(self, space: Space, *, in_channels: int, num_classes: int, generator: torch.Generator) -> Supernet:
        """Return the supernet of ``space`` as this method relaxes it; alpha is drawn from ``generator``, the weights from torch's own."""
        supernet = space.supernet(
            in_channels=in_channels,
            num_classes=num_classes,
            relax=self.relax,
            mixed=self.mixed,
            generator=generator,
            relax_edges=self.relax_edges,
            channel_proportion=self.channel_proportion,
            auxiliary_skips=self.auxiliary_skip is not None,
        )
        if self.start is not None:
            with torch.no_grad():
                for alpha in supernet.arch_parameters():
                    alpha.copy_(self.start(alpha))
        self.bring_back(supernet)
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
) -> Method:
    """Return ``method`` with these parts in the place of its own; null leaves a part as it is. They are options of every method.

    ``arch_gradient`` names the gradient of alpha; ``channel_proportion`` lets one channel in so many through the candidates and
    ``edge_weights`` gives edges a softmax of their own (both PC-DARTS, arXiv:1907.05737); ``warmup_epochs`` are those in which the weights
    move alone; the search also ends once the order of the operations has been the same on every edge for ``stable_epochs`` epochs.
    """
    parts: dict[str, Any] = {}
    given = {"arch_gradient": arch_gradient, "warmup_epochs": warmup_epochs, "stable_epochs": stable_epochs}
    if isinstance(method.arch_gradient, Still) and any(value is not None for value in given.values()):
        named = ", ".join(f"method.{name}" for name, value in given.items() if value is not None)
        raise ValueError(f"{named}: leave it out, for this method never moves alpha, and chooses among drawn architectures in the end.")
    if arch_gradient is not None:
        if not isinstance(method.arch_gradient, FirstOrder | Unrolled | Exact):
            raise ValueError(f"method.arch_gradient: leave it out, for this method has a gradient of its own. Got '{arch_gradient}'.")
        if arch_gradient != "first" and isinstance(method.relax, Sampled):
            raise ValueError(
                "method.arch_gradient must be first where weights are drawn anew in each forward pass: the second order compares passes "
                f"that differ in nothing but the weights of the network. Got '{arch_gradient}'."
            )
        parts["arch_gradient"] = ARCH_GRADIENTS.build(arch_gradient)
    if channel_proportion is not None:
        parts["channel_proportion"] = at_least(1, "channel_proportion", channel_proportion)
    if edge_weights is not None:
        parts["relax_edges"] = softmax_edges if edge_weights else None
    if warmup_epochs is not None:
        parts["warmup_epochs"] = at_least(0, "warmup_epochs", warmup_epochs)
    if stable_epochs is not None:
        parts["stop"] = (*method.stop, StableRanking(at_least(1, "stable_epochs", stable_epochs)))
    return replace(method, **parts)


def check_warmup(method: Method, cfg: SearchConfig) -> None:
    """Raise ``ValueError`` where alpha would never move although it should, or where its curvature is asked for although it never does."""
    if cfg.hessian_every and isinstance(method.arch_gradient, Still):
        raise ValueError(f"search.hessian_every must be 0 with a method that never moves alpha. Got {cfg.hessian_every}.")
    if method.warmup_epochs >= cfg.epochs:
        raise ValueError(
            f"search.epochs must be more than method.warmup_epochs, {method.warmup_epochs}, in which alpha stands still: "
            f"raise it, or lower method.warmup_epochs. Got {cfg.epochs}."
        )
