"""All time steps of a relaxed recurrent cell by the kernels, but for the gradient of state 0's weights, which is one product.

Kept are products, with the gates' sigmoids in their place, and states; the other activations are computed again in the backward pass.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from darts_core.ops.native.library import RECURRENT, SUFFIXES, WIDEST_PANEL, StepsArguments, check, library
from darts_core.ops.recurrent_steps import Statistics


class NativeSteps(torch.autograd.Function):
    """What :class:`darts_core.ops.recurrent_steps.RecurrentSteps` is, with the same arguments; its gradient cannot be differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        product: Tensor,
        first: Tensor,
        u: Tensor,
        weights_E4: Tensor,
        mask: Tensor | None,
        bn: Statistics,
        *w: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs and statistics."""
        (steps, batch, twice), nodes = product.shape, len(w)
        first, weights, new = first.contiguous(), weights_E4.double().contiguous(), first.new_empty
        gates, made = new(steps, batch, twice), new(steps, len(weights), batch, twice)
        states, outputs = new(steps, nodes + 1, batch, twice // 2), new(steps, batch, twice // 2)
        rstd, mean, var = (new(steps, nodes + 1, twice // 2) for _ in range(3))
        seen, before = new(nodes + 1, batch, twice // 2), first.clone() if mask is None else first * mask
        settings = (weights, mask, bn, first, gates, made, states, rstd, outputs)
        others = {"product": product, "mean_out": mean, "var_out": var, "seen": seen, "seen_before": before}
        node = _caller("recurrent_forward", settings, (u, *w), None, **others)
        for t in range(steps):
            for i in range(nodes + 1):
                node(t, i)
        ctx.bn, ctx.dtype = bn, weights_E4.dtype
        ctx.save_for_backward(first, u, weights, mask, gates, made, states, rstd, outputs, *w)
        ctx.mark_non_differentiable(mean, var)
        return outputs, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that are needed."""
        first, u, weights, mask, gates, made, states, rstd, outputs, *w = ctx.saved_tensors
        (steps, batch, twice), nodes, new = gates.shape, len(w), first.new_empty
        grad_p = torch.zeros_like(weights) if ctx.needs_input_grad[3] else None
        grad_w = [own.new_zeros(own.shape) for own in w] if any(ctx.needs_input_grad[6:]) else None
        grad_gates, grad_made = torch.empty_like(gates), new(nodes, batch, twice)
        direct, back, seen = (new(nodes + 1, batch, twice // 2) for _ in range(3))
        base, grad_node, direct_before, back_before = (new(batch, twice // 2) for _ in range(4))
        node = _caller(
            "recurrent_backward",
            (weights, mask, ctx.bn, first, gates, made, states, rstd, outputs),
            (u, *w),
            grad_w,
            **{"grad_outputs": grad_outputs, "base": base, "direct": direct, "back": back, "direct_before": direct_before},
            **{"back_before": back_before, "grad_node": grad_node, "grad_made": grad_made, "grad_gates": grad_gates},
            grad_weights=grad_p,
            seen=seen,
            packed_grad=None if grad_w is None else new(nodes * batch * (twice + WIDEST_PANEL)),
        )
        for t in reversed(range(steps)):
            for i in range(nodes, -1, -1):
                node(t, i)
        grad_first = direct_before + (back_before if mask is None else back_before * mask)
        grad_u = None
        if ctx.needs_input_grad[2]:
            read = torch.cat([first.unsqueeze(0), outputs[:-1]])
            grad_u = (read if mask is None else read * mask).flatten(0, 1).t() @ grad_gates.flatten(0, 1)
        grads_w = [None] * nodes if grad_w is None else grad_w
        return grad_gates, grad_first, grad_u, None if grad_p is None else grad_p.to(ctx.dtype), None, None, *grads_w


def _caller(
    name: str, settings: Sequence[Any], w: Sequence[Tensor], grad_w: Sequence[Tensor] | None, /, **tensors: Tensor | None
) -> Callable[[int, int], None]:
    """Lay out the weights, and return what calls the kernel ``name`` for a time step and a node; 0 is the first state."""
    weights, mask, bn, first, gates, made, states, rstd, outputs = settings
    steps, batch, twice = gates.shape
    packed = first.new_empty(len(w), twice * (twice // 2 + WIDEST_PANEL))  # (D, 2D) or (2D, D), columns rounded up
    tensors |= {"weights": weights, "mask": mask, "mean": bn.mean_D, "var": bn.var_D, "first": first, "gates": gates, "made": made}
    tensors |= {"states": states, "rstd": rstd, "outputs": outputs, "packed": packed}
    held = {key: x if x is None else x.contiguous() for key, x in tensors.items()}  # most are contiguous already
    rows = [own.contiguous() for own in w]
    arguments = StepsArguments(
        steps=steps,
        batch=batch,
        width=twice // 2,
        nodes=states.shape[1] - 1,
        threads=torch.get_num_threads(),
        w=_pointers(rows),
        grad_w=None if grad_w is None else _pointers(grad_w),
        pack=packed.shape[1],
        eps=bn.eps,
        **{key: None if x is None else x.data_ptr() for key, x in held.items()},
    )
    kernel, reference = getattr(library(RECURRENT), f"{name}_{SUFFIXES[first.dtype]}"), ctypes.byref(arguments)
    check(name, kernel(reference, 0, -1))

    def call(step: int, node: int, _held: Any = (held, rows)) -> None:
        check(name, kernel(reference, step, node))

    return call


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))
