"""The discrete recurrent cell of a genotype (quark0/darts, rnn/model.py)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darts_core.genotype import Cell
from darts_core.nets.dropout import Masks, masked
from darts_core.ops.recurrent import ACTIVATIONS, highway

INIT_SCALE = 0.04  # quark0/darts, rnn/model.py: weights start uniform in [-0.04, 0.04]


class InitialState(nn.Module):
    """State 0 of every time step, from the input and the last state: ``h + sigmoid(c) * (tanh(g) - h)`` with ``[c g] = [x h] W0``.

    The input's half of the product is made for all time steps at once.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.W0 = nn.Parameter(torch.empty(2 * width, 2 * width).uniform_(-INIT_SCALE, INIT_SCALE))

    def of_inputs(self, x_TBD: Tensor, masks: Masks) -> Tensor:
        """Return the input's half of the product, (T, B, 2D)."""
        return masked(x_TBD, masks.gates_BD) @ self.W0[: self.width]

    def at(self, product_BD2: Tensor, h_BD: Tensor, masks: Masks) -> Tensor:
        """Return the state (B, D) of one time step from its half of the product, (B, 2D), and the last state."""
        gate, h = torch.addmm(product_BD2, masked(h_BD, masks.hidden_BD), self.W0[self.width :]).chunk(2, dim=-1)
        return highway(h_BD, gate, h.tanh())


class RecurrentCell(nn.Module):
    """(inputs (T, B, D), last state (1, B, D)) -> outputs (T, B, D), the mean of the states in ``concat``, and the new state (1, B, D).

    Node i reads one earlier state: ``s + sigmoid(c) * (f(g) - s)`` with ``[c g] = s W_i``. Nodes that read the same state share a product.
    """

    num_states = 1

    def __init__(self, cell: Cell, width: int) -> None:
        super().__init__()
        self.cell = cell
        self.width = width
        self.first = InitialState(width)
        self.W = nn.ParameterList(nn.Parameter(torch.empty(width, 2 * width).uniform_(-INIT_SCALE, INIT_SCALE)) for _ in cell.nodes)
        self.ops = [ACTIVATIONS.get(edges[0].op) for edges in cell.nodes]
        self.readers: dict[int, list[int]] = {}
        for node, edges in enumerate(cell.nodes):
            self.readers.setdefault(edges[0].src, []).append(node)

    def forward(self, x_TBD: Tensor, state_SBD: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """Return outputs and the new state."""
        joint = {src: torch.cat([self.W[node] for node in nodes], dim=1) for src, nodes in self.readers.items()}
        h, outputs = state_SBD[0], []
        for product in self.first.of_inputs(x_TBD, masks).unbind():
            h = self._step(self.first.at(product, h, masks), joint, masks)
            outputs.append(h)
        return torch.stack(outputs), h.unsqueeze(0)

    def _step(self, s0_BD: Tensor, joint: dict[int, Tensor], masks: Masks) -> Tensor:
        states: list[Tensor] = [s0_BD]
        products: dict[int, Tensor] = {}
        for node, edges in enumerate(self.cell.nodes):
            src = edges[0].src
            if node == self.readers[src][0]:
                made = masked(states[src], masks.hidden_BD) @ joint[src]
                products |= dict(zip(self.readers[src], made.split(2 * self.width, dim=-1)))
            gate, h = products.pop(node).chunk(2, dim=-1)
            states.append(highway(states[src], gate, self.ops[node](h)))
        return torch.stack([states[state] for state in self.cell.concat]).mean(0)
