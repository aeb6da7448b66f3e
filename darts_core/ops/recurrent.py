"""Candidates of a recurrent cell: functions behind a highway gate (quark0/darts, rnn/model.py)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.registry import Registry

ACTIVATIONS: Registry[Tensor] = Registry("recurrent operation", key="space.primitives")
"""What may stand on an edge of a recurrent cell: (B, D) -> (B, D), element by element."""


@ACTIVATIONS.register("none")
def none(h: Tensor) -> Tensor:
    """No connection: zero. The edge's gate does not count either."""
    return torch.zeros_like(h)


@ACTIVATIONS.register("tanh")
def tanh(h: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return h.tanh()


@ACTIVATIONS.register("relu")
def relu(h: Tensor) -> Tensor:
    """Rectified linear."""
    return F.relu(h)


@ACTIVATIONS.register("sigmoid")
def sigmoid(h: Tensor) -> Tensor:
    """Logistic function."""
    return h.sigmoid()


@ACTIVATIONS.register("identity")
def identity(h: Tensor) -> Tensor:
    """The linear map as it is."""
    return h


def highway(s: Tensor, gate: Tensor, h: Tensor) -> Tensor:
    """Return ``s + sigmoid(gate) * (h - s)``: the state is replaced as far as the gate is open (arXiv:1607.03474)."""
    return s + gate.sigmoid() * (h - s)
