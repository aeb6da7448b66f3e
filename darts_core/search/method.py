"""A method is a frozen set of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import Optimizer

from darts_core.config import SearchConfig
from darts_core.search.bilevel import ArchGradient, FirstOrder
from darts_core.search.derive import DeriveRule, strongest_edges
from darts_core.spaces.space import CellSpace
from darts_core.supernet.mixed import MixedOp, dense
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet

ArchOptimizer = Callable[[Iterable[nn.Parameter], float, float], Optimizer]


def adam(alphas: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Return Adam with the reference's betas (0.5, 0.999)."""
    return torch.optim.Adam(alphas, lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What distinguishes one search from another; the engine runs any combination.

    ``relax`` maps alpha_EO to weights, ``relax_edges`` beta_E to those of the edges, ``mixed`` spends them on an edge, of whose channels
    candidates see one in ``channel_proportion``; ``arch_gradient`` sets the gradients of alpha and beta, ``arch_optimizer`` moves them
    (parameters, learning rate, weight decay) from epoch ``warmup_epochs`` on, ``derive`` makes the genotype.
    """

    relax: Relaxation
    mixed: MixedOp = dense
    arch_gradient: ArchGradient = field(default_factory=FirstOrder)
    arch_optimizer: ArchOptimizer = adam
    derive: DeriveRule = strongest_edges
    relax_edges: EdgeRelaxation | None = None
    channel_proportion: int = 1
    warmup_epochs: int = 0

    def supernet(self, space: CellSpace, *, in_channels: int, num_classes: int, generator: torch.Generator) -> Supernet:
        """Return the supernet of ``space`` as this method relaxes it; alpha is drawn from ``generator``, the weights from torch's own."""
        return space.supernet(
            in_channels=in_channels,
            num_classes=num_classes,
            relax=self.relax,
            mixed=self.mixed,
            generator=generator,
            relax_edges=self.relax_edges,
            channel_proportion=self.channel_proportion,
        )


def check_warmup(method: Method, cfg: SearchConfig) -> None:
    """Raise ``ValueError`` where alpha would never move."""
    if method.warmup_epochs >= cfg.epochs:
        raise ValueError(
            f"search.epochs must be more than method.warmup_epochs, {method.warmup_epochs}, in which alpha stands still: "
            f"raise it, or lower method.warmup_epochs. Got {cfg.epochs}."
        )
