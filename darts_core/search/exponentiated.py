"""Exponentiated gradient: architecture parameters that are weights themselves and stay on the simplex (GAEA, arXiv:2004.07802)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

FLOOR = 1e-5  # of a weight, ahead of the last normalisation, so that no operation is lost for good; the published code's value
SMALLEST_EXPONENT = -50.0  # of one step beside the largest; float32 ends at -87


class ExponentiatedGradient(Optimizer):
    """``theta <- theta * exp(-lr * gradient)`` up to a factor, which :func:`onto_simplex` takes away and which must follow.

    ``weight_decay * theta`` is part of the gradient, which draws theta towards the uniform distribution; the published search has none. No
    state is kept.
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
                    exponent = -group["lr"] * gradient
                    theta.mul_((exponent - exponent.amax(-1, keepdim=True)).clamp_min(SMALLEST_EXPONENT).exp())
        return loss


def onto_simplex(theta: Tensor, fan_in: Sequence[int]) -> Tensor:
    """Return ``theta`` divided by its sum, no less than ``FLOOR``, and divided by its sum again.

    The sum is that of the operations of an edge (E, O), or that of the edges of a node (E,), ``fan_in`` of them. The published code has the
    floor ahead of the one division, which is the same where steps are small.
    """
    return _normalised(_normalised(theta, fan_in).clamp_min(FLOOR), fan_in)


def _normalised(theta: Tensor, fan_in: Sequence[int]) -> Tensor:
    if theta.ndim == 1:
        return torch.cat([part / part.sum() for part in theta.split(list(fan_in))])
    return theta / theta.sum(-1, keepdim=True)
