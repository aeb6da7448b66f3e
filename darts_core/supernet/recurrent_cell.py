"""The recurrent cell of mixed operations, edge by edge: slow, and the oracle of :mod:`darts_core.ops.recurrent_steps`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from darts_core.nets.dropout import Masks, masked
from darts_core.nets.recurrent_cell import INIT_SCALE, InitialState
from darts_core.ops.recurrent import ACTIVATIONS, highway


class RecurrentSearchCell(nn.Module):
    """(inputs (T, B, D), last state (1, B, D)) -> outputs (T, B, D), the mean of all nodes, and the new state (1, B, D).

    Every node reads all earlier states, by one matrix W_i of its own. State 0 and every node pass one and the same BatchNorm, without
    affine parameters; a discrete cell has none (quark0/darts, rnn/model_search.py).
    """

    num_states = 1

    def __init__(self, primitives: Sequence[str], *, nodes: int, width: int) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.width = width
        self.first = InitialState(width)
        self.W = nn.ParameterList(nn.Parameter(torch.empty(width, 2 * width).uniform_(-INIT_SCALE, INIT_SCALE)) for _ in range(nodes))
        self.bn = nn.BatchNorm1d(width, affine=False)

    def forward(self, x_TBD: Tensor, state_SBD: Tensor, masks: Masks, op_EO: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and the new state; ``op_EO`` weighs the operations of each edge."""
        h, outputs = state_SBD[0], []
        for product in self.first.of_inputs(x_TBD, masks).unbind():
            h = self._step(self.first.at(product, h, masks), masks, op_EO)
            outputs.append(h)
        return torch.stack(outputs), h.unsqueeze(0)

    def _step(self, s0_BD: Tensor, masks: Masks, op_EO: Tensor) -> Tensor:
        states, rows = [self.bn(s0_BD)], iter(op_EO.unbind())
        for w in self.W:
            edges = [self._edge(s, masked(s, masks.hidden_BD) @ w, weight_O) for s, weight_O in zip(states, rows)]
            states.append(self.bn(torch.stack(edges).sum(0)))
        return torch.stack(states[1:]).mean(0)

    def _edge(self, s_BD: Tensor, product_BD2: Tensor, weight_O: Tensor) -> Tensor:
        gate, h = product_BD2.chunk(2, dim=-1)
        terms = [
            weight * highway(s_BD, gate, ACTIVATIONS.get(name)(h))
            for weight, name in zip(weight_O.unbind(), self.primitives)
            if name != "none"
        ]
        return torch.stack(terms).sum(0)
