"""A method is a frozen set of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import Optimizer

from darts_core.search.bilevel import ArchGradient, FirstOrder
from darts_core.search.derive import DeriveRule, strongest_edges
from darts_core.supernet.mixed import MixedOp, dense
from darts_core.supernet.supernet import Relaxation

ArchOptimizer = Callable[[Iterable[nn.Parameter], float, float], Optimizer]


def adam(alphas: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Return Adam with the reference's betas (0.5, 0.999)."""
    return torch.optim.Adam(alphas, lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What distinguishes one search from another; the engine runs any combination.

    ``relax`` maps alpha_EO to weights, ``mixed`` spends them on an edge, ``arch_gradient`` sets alpha's gradient, ``arch_optimizer`` moves
    alpha (parameters, learning rate, weight decay), ``derive`` makes the genotype.
    """

    relax: Relaxation
    mixed: MixedOp = dense
    arch_gradient: ArchGradient = field(default_factory=FirstOrder)
    arch_optimizer: ArchOptimizer = adam
    derive: DeriveRule = strongest_edges
