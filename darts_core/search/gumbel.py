"""Relaxations by the Gumbel trick: alpha plus noise, the strongest operation or a softmax."""

from __future__ import annotations

from torch import Tensor

from darts_core.supernet.sampled import Sampled, Weights, one_hot, strongest


def gumbel_softmax(alpha_EO: Tensor, exponential_EO: Tensor, temperature: float) -> Tensor:
    """Return softmax((log softmax(alpha) + g) / temperature) with Gumbel noise g = -log(e), e exponential (arXiv:1611.01144)."""
    return ((alpha_EO.log_softmax(dim=-1) - exponential_EO.log()) / temperature).softmax(dim=-1)


class HardGumbel(Sampled):
    """One operation an edge, drawn by its probability; its gradient is that of the Gumbel softmax (GDAS, arXiv:1910.04465, equation 7).

    Only what is drawn is computed. The published code lets the others' weights take part in the gradient as if their outputs were ones
    (D-X-Y/AutoDL-Projects, xautodl/models/cell_searchs/search_cells.py); here, as in the paper, they add nothing to it.
    """

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return 1 for the operation that is drawn, with the gradient of its soft weight."""
        soft_EO = gumbel_softmax(alpha_EO, self.exponential(alpha_EO), self.temperature)
        active = strongest(soft_EO)
        return Weights(one_hot(active, soft_EO) + (soft_EO - soft_EO.detach()), active)

    def settled(self, alpha_EO: Tensor) -> Weights:
        """Return 1 for the most probable operation."""
        active = strongest(alpha_EO)
        return Weights(one_hot(active, alpha_EO), active)


class SoftGumbel(Sampled):
    """All operations, weighed by a Gumbel softmax (SNAS, arXiv:1812.09926, equation 5)."""

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return the soft sample."""
        return Weights(gumbel_softmax(alpha_EO, self.exponential(alpha_EO), self.temperature))
