"""Mean cross entropy by the kernels: a pass over the logits forward, and one backward that makes their gradient."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from darts_core.ops.native.library import RECURRENT, SUFFIXES, EntropyArguments, check, library


class CrossEntropy(torch.autograd.Function):
    """Logits (N, V) and targets (N,) int64 -> their mean cross entropy (nats), a scalar. RuntimeError for a target outside [0, V)."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, target_N: Tensor) -> Tensor:
        """Return the loss."""
        logits_NV, target_N = logits_NV.contiguous(), target_N.contiguous()
        loss_N, log_sum_N = (logits_NV.new_empty(len(logits_NV), dtype=torch.float64) for _ in range(2))
        _run("entropy_forward", logits_NV, target_N, log_sum_N, loss=loss_N.data_ptr())
        ctx.save_for_backward(logits_NV, target_N, log_sum_N)
        return loss_N.mean().to(logits_NV.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the logits."""
        logits_NV, target_N, log_sum_N = ctx.saved_tensors
        grad_NV = torch.empty_like(logits_NV)
        _run("entropy_backward", logits_NV, target_N, log_sum_N, scale=float(grad) / len(logits_NV), grad=grad_NV.data_ptr())
        return grad_NV, None


def _run(name: str, logits_NV: Tensor, target_N: Tensor, log_sum_N: Tensor, **others: Any) -> None:
    arguments = EntropyArguments(
        rows=logits_NV.shape[0],
        classes=logits_NV.shape[1],
        threads=torch.get_num_threads(),
        logits=logits_NV.data_ptr(),
        targets=target_N.data_ptr(),
        log_sum=log_sum_N.data_ptr(),
        **others,
    )
    check(name, getattr(library(RECURRENT), f"{name}_{SUFFIXES[logits_NV.dtype]}")(ctypes.byref(arguments)))
