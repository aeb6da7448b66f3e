"""Binary gates (ProxylessNAS, Cai et al., ICLR 2019, arXiv:1812.00332): one path for the weights, two for alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.supernet.policy import Categorical
from darts_core.supernet.sampled import Active, Weights, one_hot, strongest

PUBLISHED_BETAS = (0.0, 0.999)


class BinaryGates(Categorical):
    """Two operations an edge are drawn by their probabilities, without putting back, and one of the two is open (section 3.2.1).

    The gradient of alpha is that of the two: dL/dalpha_i = sum over j of dL/dgate_j * p_j * (delta_ij - p_i), p their softmax (equation
    4). Where alpha is frozen, as in a weight step, the open one alone is computed.
    """

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return 1 for the open operation, with the gradient of its share of the two."""
        log_EO = alpha_EO.detach().log_softmax(dim=-1)
        if not alpha_EO.requires_grad or alpha_EO.shape[1] == 1:
            active = self.pick(log_EO)
            return Weights(one_hot(active, log_EO) + 0.0 * alpha_EO, active)  # a gradient of 0 where there is no choice
        pair_EK = _two_strongest(log_EO - self.exponential(log_EO).log())
        index_EK = torch.tensor(pair_EK, device=alpha_EO.device)
        share_EK = alpha_EO.gather(1, index_EK).softmax(dim=-1)
        drawn_EK = share_EK.detach() / self.exponential(share_EK)
        gate_EK = one_hot(strongest(drawn_EK), share_EK) + (share_EK - share_EK.detach())
        return Weights(torch.zeros_like(alpha_EO).scatter(1, index_EK, gate_EK), pair_EK)

    def settled(self, alpha_EO: Tensor) -> Weights:
        """Return 1 for the most probable operation."""
        active = strongest(alpha_EO)
        return Weights(one_hot(active, alpha_EO), active)


def _two_strongest(weight_EO: Tensor) -> Active:
    edges, operations = weight_EO.shape
    if weight_EO.is_meta:
        return tuple((edge % operations, (edge + 1) % operations) for edge in range(edges))
    return tuple(tuple(pair) for pair in weight_EO.topk(2, dim=-1).indices.tolist())


class PairAdam(torch.optim.Adam):
    """Adam, after which the alphas with a gradient are shifted so that the other operations keep their probabilities (section 3.2.1).

    ``decay`` is Adam's weight decay, but of the alphas with a gradient alone.
    """

    def __init__(self, alphas: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], decay: float) -> None:
        super().__init__([{"params": list(alphas), "decay": decay}], lr=lr, betas=betas)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step."""
        held = []
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    moved = p.grad != 0
                    held.append((p, moved, p.detach().clone()))
                    p.grad = p.grad + group["decay"] * p * moved
        loss = super().step(closure)
        for p, moved, before in held:
            if p.ndim == 2:
                shift = _log_sum(before, moved) - _log_sum(p, moved)
                p.add_(torch.where(moved, shift.nan_to_num(), torch.zeros_like(p)))
        return loss


def _log_sum(alpha_EO: Tensor, mask: Tensor) -> Tensor:
    return alpha_EO.masked_fill(~mask, float("-inf")).logsumexp(dim=-1, keepdim=True)


def pair_adam(alphas: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Return the optimiser with the published betas: what has no gradient stands still."""
    return PairAdam(alphas, lr=lr, betas=PUBLISHED_BETAS, decay=weight_decay)


def policy_adam(alphas: Iterable[nn.Parameter], lr: float, weight_decay: float) -> Optimizer:
    """Return Adam with the published betas, for REINFORCE: its gradient is of all operations, or none if the reward is as expected."""
    return torch.optim.Adam(alphas, lr=lr, betas=PUBLISHED_BETAS, weight_decay=weight_decay)
