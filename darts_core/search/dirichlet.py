"""A Dirichlet distribution over each edge's weights, of which every forward pass draws a sample (DrNAS, arXiv:2006.10355)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from darts_core.supernet.sampled import Sampled, Weights

SMALLEST = 1e-3  # of a concentration, below which samples are one-hot to rounding; reached at alpha = -7
TINY = 1e-20  # of a gamma variable ahead of the division: small concentrations draw zeros


def concentrations(alpha_EO: Tensor) -> Tensor:
    """Return elu(alpha) + 1, which is positive and 1 for alpha = 0; no less than ``SMALLEST``, so that samples have finite gradients."""
    return (F.elu(alpha_EO) + 1.0).clamp_min(SMALLEST)


class DirichletSample(Sampled):
    """The weights of the operations drawn from Dirichlet(elu(alpha) + 1), with the gradient of the sample.

    In evaluation mode, where the published code draws, too, they are the mean.
    """

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return gamma variables over their sum, whose gradient torch knows by implicit reparameterisation (arXiv:1805.08498)."""
        gamma_EO = self.gamma(concentrations(alpha_EO)).clamp_min(TINY)
        return Weights(gamma_EO / gamma_EO.sum(dim=-1, keepdim=True))

    def expected(self, alpha_EO: Tensor) -> Tensor:
        """Return the mean, concentrations over their sum."""
        concentration_EO = concentrations(alpha_EO)
        return concentration_EO / concentration_EO.sum(dim=-1, keepdim=True)
