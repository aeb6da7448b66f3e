"""The recurrent cell of mixed operations, edge by edge: slow, and the oracle of :mod:`darts_core.ops.recurrent_steps`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from darts_core.nets.dropout import Masks, masked
from darts_core.nets.recurrent_cell import INIT_SCALE, InitialState
from darts_core.ops.recurrent import ACTIVATIONS, highway
from darts_core.ops.recurrent_steps import ORDER, RecurrentSteps, Statistics


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

    def fused(
        self, x_TBD: Tensor, state_SBD: Tensor, masks: Masks, op_EO: Tensor, *, steps: type[torch.autograd.Function] = RecurrentSteps
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward` does, all time ``steps`` in one function; its gradient cannot be differentiated again."""
        is_fixed = not self.bn.training
        if not is_fixed and x_TBD.shape[1] == 1:
            return self(x_TBD, state_SBD, masks, op_EO)  # which says that BatchNorm needs more
        if own := {*self.primitives} - {"none", *ORDER}:
            raise ValueError(
                f"search.backend must be reference with {', '.join(sorted(own))}: together are computed {', '.join(ORDER)} alone."
            )
        columns = [self.primitives.index(name) if name in self.primitives else None for name in ORDER]
        weights_E4 = torch.stack([op_EO.new_zeros(len(op_EO)) if o is None else op_EO[:, o] for o in columns], dim=1)
        bn = Statistics(self.bn.running_mean, self.bn.running_var, self.bn.eps) if is_fixed else Statistics(None, None, self.bn.eps)
        product = self.first.of_inputs(x_TBD, masks)
        half = self.first.W0[self.width :]
        outputs, mean, var = steps.apply(product, state_SBD[0], half, weights_E4, masks.hidden_BD, bn, *self.W)
        if not is_fixed:
            self._note(mean.flatten(0, 1), var.flatten(0, 1), x_TBD.shape[1])
        return outputs, outputs[-1:]

    @torch.no_grad()
    def _note(self, mean_ND: Tensor, var_ND: Tensor, batch: int) -> None:
        """Move the BatchNorm's running statistics by those of its uses, one after the other, as it would itself."""
        momentum, count = self.bn.momentum or 0.0, len(mean_ND)
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        assert self.bn.num_batches_tracked is not None
        fading_N = momentum * (1.0 - momentum) ** torch.arange(count - 1, -1, -1, dtype=mean_ND.dtype, device=mean_ND.device)
        # By way of .data, as torch's own BatchNorm: a graph that kept the statistics, and does not use them, can still be differentiated.
        self.bn.running_mean.data.mul_((1.0 - momentum) ** count).add_(fading_N @ mean_ND)
        self.bn.running_var.data.mul_((1.0 - momentum) ** count).add_(fading_N @ var_ND, alpha=batch / (batch - 1))
        self.bn.num_batches_tracked.add_(count)

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
