"""Relaxations: architecture parameters -> weights of the operations."""

from torch import Tensor

from darts_core.supernet.supernet import Weights


def softmax(alpha_EO: Tensor) -> Weights:
    """Weigh the operations of each edge by a softmax over them, ``none`` included (DARTS, arXiv:1806.09055, equation 2)."""
    return Weights(op_EO=alpha_EO.softmax(dim=-1))
