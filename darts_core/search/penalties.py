"""Penalties: what a method adds to the validation loss, as a function of the architecture parameters alone.

No penalty reads the weights, so that its gradient adds to that of any validation loss: of first order, unrolled or exact. (The published
code of Beta-DARTS leaves its penalty out of the unrolled step.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from darts_core.search.dirichlet import concentrations
from darts_core.supernet.supernet import Supernet


class Penalty(Protocol):
    """(supernet, share of the epochs that are over) -> a scalar that is differentiable by alpha."""

    def __call__(self, supernet: Supernet, progress: float) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class ZeroOneLoss:
    """``-scale * mean((sigmoid(alpha) - 1/2)^2)``: drives gates to 0 or 1 (FairDARTS, arXiv:1911.12126)."""

    scale: float

    def __call__(self, supernet: Supernet, progress: float) -> Tensor:
        """Return the penalty, at most 0 and at least ``-scale / 4``; the mean is over all operations of all cell types."""
        gates = torch.cat([alpha_EO.flatten() for alpha_EO in supernet.op_alphas().values()]).sigmoid()
        return -self.scale * (gates - 0.5).square().mean()


@dataclass(frozen=True)
class BetaDecay:
    """``scale * progress * mean over edges of logsumexp(alpha_O)`` (Beta-DARTS, arXiv:2203.01665)."""

    scale: float

    def __call__(self, supernet: Supernet, progress: float) -> Tensor:
        """Return the penalty; its weight grows with ``progress`` from 0 to ``scale``, and the mean is over the edges of all cell types."""
        smooth_maxima = torch.cat([alpha_EO.logsumexp(dim=-1) for alpha_EO in supernet.op_alphas().values()])
        return self.scale * progress * smooth_maxima.mean()


@dataclass(frozen=True)
class DirichletDivergence:
    """``scale`` times the sum over edges of KL(Dirichlet(elu(alpha) + 1) || Dirichlet(1)) (DrNAS, arXiv:2006.10355).

    Recalled [M]: that it is the sum over edges and not their mean.
    """

    scale: float

    def __call__(self, supernet: Supernet, progress: float) -> Tensor:
        """Return the penalty, 0 where every alpha is 0."""
        return self.scale * torch.cat([_divergences(concentrations(alpha_EO)) for alpha_EO in supernet.op_alphas().values()]).sum()


def _divergences(c_EO: Tensor) -> Tensor:
    """Return KL(Dirichlet(c) || Dirichlet(1)) of each edge, (E,)."""
    total_E = c_EO.sum(dim=-1)
    normalisers_E = total_E.lgamma() - c_EO.lgamma().sum(dim=-1) - math.lgamma(c_EO.shape[-1])
    means_EO = c_EO.digamma() - total_E.digamma().unsqueeze(-1)  # of log theta
    return normalisers_E + ((c_EO - 1.0) * means_EO).sum(dim=-1)
