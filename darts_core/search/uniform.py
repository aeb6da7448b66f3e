"""One operation an edge, each as probable as any other, whatever alpha is."""

from __future__ import annotations

import torch
from torch import Tensor

from darts_core.supernet.sampled import Sampled, Weights, one_hot, strongest


class Uniform(Sampled):
    """Weigh the drawn operation by 1; only it is computed, and alpha has no gradient."""

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return 1 for the operation that is drawn."""
        active = strongest(self.exponential(alpha_EO))
        return Weights(one_hot(active, alpha_EO.detach()), active)

    def expected(self, alpha_EO: Tensor) -> Tensor:
        """Return the same probability for all."""
        return torch.full_like(alpha_EO, 1.0 / alpha_EO.shape[1])

    def settled(self, alpha_EO: Tensor) -> Weights:
        """Return every operation, by its probability."""
        return Weights(self.expected(alpha_EO.detach()))
