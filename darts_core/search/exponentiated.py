"""Exponentiated gradient: architecture parameters that are weights themselves and stay on the simplex (GAEA, arXiv:2004.07802)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.search.relax import node_sizes, softmax_edges

FLOOR = 1e-5  # of a weight, ahead of the last normalisation, so that no operation is lost for good; the published code's value


class ExponentiatedGradient(Optimizer):
    """``theta <- theta * exp(-lr * gradient)``, divided by its sum, no less than ``FLOOR``, and divided by its sum again.

    The published code has the floor ahead of the one division, which is the same where steps are small; large ones do not overflow here.
    The sum is that of the operations of an edge for ``theta_EO``, and that of the edges of a node for ``theta_E``. ``weight_decay * theta``
    is part of the gradient, which draws theta towards the uniform distribution; the published search has none. No state is kept.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(list(parameters), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is not None:
                    gradient = theta.grad + group["weight_decay"] * theta
                    exponent = theta.log() - group["lr"] * gradient
                    moved = softmax_edges(exponent) if theta.ndim == 1 else exponent.softmax(-1)  # multiplied and divided in one go
                    theta.copy_(normalised(moved.clamp_min(FLOOR)))
        return loss


def normalised(theta: Tensor) -> Tensor:
    """Return ``theta`` divided by its sums: over operations (E, O), or over the edges of each node (E,)."""
    if theta.ndim == 1:
        return torch.cat([part / part.sum() for part in theta.split(node_sizes(len(theta)))])
    return theta / theta.sum(-1, keepdim=True)


def uniform(drawn: Tensor) -> Tensor:
    """Return the start of theta, in the shape of what was drawn: all operations of an edge, or all edges of a node, alike."""
    return normalised(torch.ones_like(drawn))
