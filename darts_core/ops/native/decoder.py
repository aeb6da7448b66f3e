"""A decoder, which is a linear layer of many classes, and its mean cross entropy by the kernels, without a tensor of all logits."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from darts_core.ops.native.library import RECURRENT, SUFFIXES, DecoderArguments, check, library


class DecodedLoss(torch.autograd.Function):
    """Inputs (N, D), weights (V, D), bias (V,) and targets (N,) int64 -> mean cross entropy (nats), a scalar, and which targets are found.

    The latter, (N,) of 0 and 1, is :func:`darts_core.metrics.label_rank` of 0. With ``has_gradient`` the forward pass makes the gradients,
    too, of whatever needs them. ValueError for N of 0, RuntimeError for a target outside [0, V).
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor, has_gradient: bool) -> tuple[Tensor, Tensor]:
        """Return loss and hits."""
        if not len(x_ND):
            raise ValueError(f"A mean cross entropy: at least one row expected. Got inputs of shape {tuple(x_ND.shape)}.")
        given = [x.contiguous() for x in (x_ND, weight_VD, bias_V)]
        target_N = target_N.contiguous()
        loss_N, found_N = given[0].new_empty(len(x_ND), dtype=torch.float64), torch.empty_like(target_N)
        grads = [torch.empty_like(x) if needed and has_gradient else None for x, needed in zip(given, ctx.needs_input_grad)]
        arguments = DecoderArguments(
            *(*x_ND.shape, len(bias_V), torch.get_num_threads()),
            *(x.data_ptr() for x in (*given, target_N, loss_N, found_N)),
            *(None if grad is None else grad.data_ptr() for grad in grads),
        )
        check("decoder", getattr(library(RECURRENT), f"decoder_{SUFFIXES[x_ND.dtype]}")(ctypes.byref(arguments)))
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(found_N)
        return loss_N.mean().to(x_ND.dtype), found_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that are needed."""
        return *(None if own is None else own * grad for own in ctx.saved_tensors), None, None
