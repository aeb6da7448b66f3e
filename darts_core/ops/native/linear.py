"""A linear layer of many outputs: forward by torch, backward by the kernels, which such long and such tall products suit better."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from darts_core.ops.native.library import RECURRENT, SUFFIXES, WIDEST_PANEL, ProductArguments, check, library


class NativeLinear(torch.autograd.Function):
    """Inputs (N, D), weights (V, D) and bias (V,) -> outputs (N, V)."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
        """Return the outputs."""
        ctx.save_for_backward(x_ND, weight_VD)
        return F.linear(x_ND, weight_VD, bias_V)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NV: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that are needed."""
        x_ND, weight_VD = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad_NV = grad_NV.contiguous()
        return (
            product(grad_NV, weight_VD) if wants_x else None,
            product(grad_NV.t(), x_ND) if wants_weight else None,
            grad_NV.sum(0) if wants_bias else None,
        )


def product(left_MK: Tensor, right_KN: Tensor) -> Tensor:
    """Return the product (M, N) of a matrix in any layout and another."""
    right_KN = right_KN.contiguous()
    (rows, depth), columns = left_MK.shape, right_KN.shape[1]
    out_MN, packed = left_MK.new_empty(rows, columns), left_MK.new_empty(depth, columns + WIDEST_PANEL)
    arguments = ProductArguments(
        rows=rows,
        depth=depth,
        columns=columns,
        threads=torch.get_num_threads(),
        left=left_MK.data_ptr(),
        left_row=left_MK.stride(0),
        left_step=left_MK.stride(1),
        right=right_KN.data_ptr(),
        packed=packed.data_ptr(),
        pack=packed.numel(),
        out=out_MN.data_ptr(),
    )
    check("product", getattr(library(RECURRENT), f"product_{SUFFIXES[left_MK.dtype]}")(ctypes.byref(arguments)))
    return out_MN
