"""Relaxations: architecture parameters -> weights of the operations, and of the edges."""

import torch
from torch import Tensor

from darts_core.supernet.supernet import Weights


def softmax(alpha_EO: Tensor) -> Weights:
    """Weigh the operations of each edge by a softmax over them, ``none`` included (DARTS, arXiv:1806.09055, equation 2)."""
    return Weights(op_EO=alpha_EO.softmax(dim=-1))


def softmax_edges(beta_E: Tensor) -> Tensor:
    """Weigh the edges of each node by a softmax over them (PC-DARTS, arXiv:1907.05737, equation 4).

    Edges come node by node, 2 + 3 + ... of them.
    """
    counts: list[int] = []
    while sum(counts) < len(beta_E):
        counts.append(len(counts) + 2)
    return torch.cat([part.softmax(dim=0) for part in beta_E.split(counts)])
