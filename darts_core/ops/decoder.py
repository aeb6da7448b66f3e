"""A decoder, which is a linear layer of many classes, and its cross entropy, a few rows at a time: there never are the logits of all rows.

Of 64 sequences of 35 tokens and 33,278 words the logits, what cross entropy keeps of them, and their gradient take 300 MB each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_MOST = {"cpu": 2**22}
"""Logits at a time, 16 MiB of them: with fewer the products slow down; elsewhere enough to keep a GPU busy."""
_MOST_ELSEWHERE = 2**25


def mean_loss(x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor) -> Tensor:
    """Return the mean cross entropy (nats), a scalar, of inputs (N, D), weights (V, D), bias (V,) and targets (N,) int64."""
    loss: Tensor = _MeanLoss.apply(x_ND, weight_VD, bias_V, target_N, torch.is_grad_enabled())
    return loss


@torch.no_grad()
def losses(x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor) -> Tensor:
    """Return the cross entropy of each row in float64, (N,), without gradient; the softmax is of float64, too."""
    parts = [
        F.cross_entropy(F.linear(x_ND[rows], weight_VD, bias_V).double(), target_N[rows], reduction="none")
        for rows in _pieces(x_ND, len(bias_V))
    ]
    return torch.cat(parts)


class _MeanLoss(torch.autograd.Function):
    """The forward pass makes the gradients, too, while it has the logits."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor, has_gradient: bool) -> Tensor:
        sums: list[Tensor] = []
        wanted = [needed and has_gradient for needed in ctx.needs_input_grad[:3]]
        grads = [torch.zeros_like(x) if is_wanted else None for x, is_wanted in zip((x_ND, weight_VD, bias_V), wanted)]
        for rows in _pieces(x_ND, len(bias_V)):
            x, told = x_ND[rows], target_N[rows, None]
            log_p = torch.log_softmax(F.linear(x, weight_VD, bias_V), dim=1)
            sums.append(log_p.gather(1, told).double().sum())
            if any(wanted):
                _add_gradients(grads, log_p.exp_().scatter_add_(1, told, log_p.new_full((1, 1), -1.0).expand_as(told)), x, weight_VD, rows)
        for grad in grads:
            if grad is not None:
                grad.div_(len(x_ND))
        ctx.save_for_backward(*grads)
        return (-torch.stack(sums).sum() / len(x_ND)).to(x_ND.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if own is None else own * grad for own in ctx.saved_tensors), None, None


def _add_gradients(grads: list[Tensor | None], logit_grad: Tensor, x: Tensor, weight: Tensor, rows: slice) -> None:
    of_x, of_weight, of_bias = grads
    if of_x is not None:
        torch.mm(logit_grad, weight, out=of_x[rows])
    if of_weight is not None:
        of_weight.addmm_(logit_grad.t(), x)
    if of_bias is not None:
        of_bias.add_(logit_grad.sum(0))


def _pieces(x_ND: Tensor, classes: int) -> Iterator[slice]:
    most = max(1, _MOST.get(x_ND.device.type, _MOST_ELSEWHERE) // classes)
    count = -(-len(x_ND) // most)
    size = -(-len(x_ND) // max(count, 1))  # equal pieces: a short last one would cost as much as any
    return (slice(start, start + size) for start in range(0, len(x_ND), max(size, 1)))
