"""The rate of skip connections that ENAS aims at among layers (Pham et al., ICML 2018, arXiv:1802.03268, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SkipRate:
    """``weight`` times the divergence of the skip connections' probabilities from ``target``, in nats.

    That is the KL divergence from Bernoulli(p) to Bernoulli(target), summed over what a layer may be connected with and averaged over the
    layers (melodyguan/enas, src/cifar10/general_controller.py). There p is sigmoid(x) of a logit x, although skip connections are drawn
    by sigmoid(2x); here it is the probability by which they are drawn, which is the paper's.
    """

    weight: float
    target: float

    def __call__(self, skips: Sequence[Tensor]) -> Tensor:
        """Return the penalty, a scalar; ``skips`` are the probabilities of each layer that has a choice, at least one layer."""
        return self.weight * torch.stack([self._divergence(p).sum() for p in skips]).mean()

    def _divergence(self, p: Tensor) -> Tensor:
        least = torch.finfo(p.dtype).eps  # of a certain choice the logarithm has no gradient
        p = p.clamp(least, 1.0 - least)
        q = 1.0 - p
        return torch.xlogy(p, p / self.target) + torch.xlogy(q, q / (1.0 - self.target))
