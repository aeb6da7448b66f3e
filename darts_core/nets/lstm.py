"""An LSTM as the core of a language model: what a searched cell of equal size is compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from darts_core.nets.dropout import Masks, masked


class Lstm(nn.Module):
    """Inputs (T, B, D) and the state (2, B, D), output and memory -> outputs (T, B, D) and the new state.

    Hochreiter and Schmidhuber 1997, with forget gates; weights and bias start uniform within 1 / sqrt(D), as torch's. The masks lie on
    what the gates see of the input and of the last output.
    """

    num_states = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        reach = 1.0 / math.sqrt(width)
        self.input_weight = nn.Parameter(torch.empty(width, 4 * width).uniform_(-reach, reach))
        self.hidden_weight = nn.Parameter(torch.empty(width, 4 * width).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(4 * width).uniform_(-reach, reach))

    def forward(self, x_TBD: Tensor, state_SBD: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """Return outputs and the new state."""
        products = masked(x_TBD, masks.gates_BD) @ self.input_weight + self.bias
        h, c = state_SBD.unbind()
        outputs = []
        for product in products.unbind():
            gates, new = torch.addmm(product, masked(h, masks.hidden_BD), self.hidden_weight).split((3 * self.width, self.width), dim=-1)
            enter, forget, leave = gates.sigmoid().chunk(3, dim=-1)
            c = forget * c + enter * new.tanh()
            h = leave * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), torch.stack((h, c))
