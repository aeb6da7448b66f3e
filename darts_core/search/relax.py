"""Relaxations: architecture parameters -> weights of the operations, and of the edges."""

from collections.abc import Sequence

import torch
from torch import Tensor

from darts_core.supernet.sampled import Weights


def softmax(alpha_EO: Tensor) -> Weights:
    """Weigh the operations of each edge by a softmax over them, ``none`` included (DARTS, arXiv:1806.09055, equation 2)."""
    return Weights(op_EO=alpha_EO.softmax(dim=-1))


def sigmoid_gates(alpha_EO: Tensor) -> Weights:
    """Weigh each operation by a gate of its own, which takes nothing from the others (FairDARTS, arXiv:1911.12126)."""
    return Weights(op_EO=alpha_EO.sigmoid())


def simplex(theta_EO: Tensor) -> Weights:
    """Take the parameters as the weights that they are (GAEA, arXiv:2004.07802)."""
    return Weights(op_EO=theta_EO)


def simplex_edges(theta_E: Tensor, fan_in: Sequence[int]) -> Tensor:
    """Take the parameters as the weights of the edges that they are (GAEA, arXiv:2004.07802)."""
    return theta_E


def softmax_edges(beta_E: Tensor, fan_in: Sequence[int]) -> Tensor:
    """Weigh the edges of each node by a softmax over them (PC-DARTS, arXiv:1907.05737, equation 4).

    Edges come node by node, ``fan_in`` of them.
    """
    return torch.cat([part.softmax(dim=0) for part in beta_E.split(list(fan_in))])
