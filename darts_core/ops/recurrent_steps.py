"""All time steps of a relaxed recurrent cell as one function with a gradient of its own: few and large products, little kept in between.

A node's products with all earlier states are one product, of which one half is the gates and the other what is activated. The sigmoid of
the latter gives the hyperbolic tangent and both derivatives, too: with a = sigmoid(h), tanh(h) = (2a - 1) / (1 - 2a(1 - a)). The gradient
keeps products and sigmoids, and computes the rest again. Weights are summed up over time in place, and what nobody asked for is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ORDER = ("tanh", "relu", "sigmoid", "identity")
"""The operations, as the columns of ``weights_E4`` have them."""


class Statistics(NamedTuple):
    """What a BatchNorm in evaluation mode goes by: running mean and variance (D,). ``eps`` is used in either mode."""

    mean_D: Tensor | None  # noqa: N815
    var_D: Tensor | None  # noqa: N815
    eps: float


class _Kept(NamedTuple):
    """Of one node, what its gradient needs: gates c, products h and their sigmoids a, each (i, B, D) for its i earlier states."""

    c: Tensor
    h: Tensor
    a: Tensor


def normalised(x_BD: Tensor, bn: Statistics) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the normalised state, 1 / deviation (D,), and mean and biased variance (D,)."""
    if bn.mean_D is None or bn.var_D is None:
        var_D, mean_D = torch.var_mean(x_BD, dim=0, correction=0)
    else:
        mean_D, var_D = bn.mean_D, bn.var_D
    rstd_D = (var_D + bn.eps).rsqrt()
    return (x_BD - mean_D) * rstd_D, rstd_D, mean_D, var_D


def through_norm(grad_BD: Tensor, xhat_BD: Tensor, rstd_D: Tensor, *, is_fixed: bool) -> Tensor:
    """Return the gradient of what was normalised; ``is_fixed``: by running statistics."""
    if is_fixed:
        return grad_BD * rstd_D
    return (grad_BD - grad_BD.mean(0) - xhat_BD * (grad_BD * xhat_BD).mean(0)) * rstd_D


def _tanh_of(a: Tensor) -> Tensor:
    """Return tanh(h) from a = sigmoid(h).

    Its error is that of rounding a, even where tanh(h) is far smaller: what is added to it, a normalised state behind a gate, is not.
    """
    q = torch.addcmul(a, a, a, value=-1)
    return a.mul(2).sub_(1).div_(q.mul_(-2).add_(1))


def _mixed(p_4i: Tensor, kept: _Kept, tanh: Tensor) -> Tensor:
    """Return the weighed activations (i, B, D)."""
    mixed = tanh * p_4i[0]
    mixed.addcmul_(kept.h.clamp_min(0), p_4i[1])
    return mixed.addcmul_(kept.a, p_4i[2]).addcmul_(kept.h, p_4i[3])


class RecurrentSteps(torch.autograd.Function):
    """Maps the inputs' products (T, B, 2D) and the first state (B, D) to outputs (T, B, D), and to means and biased variances (T, N + 1, D)
    of states 0 to N.

    It is given U (D, 2D), the weights of the operations (E, 4), the mask (B, D) of hidden states or None, the BatchNorm, and each node's
    W_i (D, 2D).
    """

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
        steps, batch, width = len(product), first.shape[0], first.shape[1]
        states = first.new_empty(steps, len(w) + 1, batch, width)
        rstd, mean, var = (first.new_empty(steps, len(w) + 1, width) for _ in range(3))
        outputs = torch.empty_like(product[..., :width])
        p = _by_node(weights_E4, len(w))
        kept: list[list[_Kept]] = []
        gates = []
        h = first
        for t in range(steps):
            s, seen = states[t], states[t] if mask is None else torch.empty_like(states[t])
            gate, new = torch.addmm(product[t], h if mask is None else h * mask, u).chunk(2, dim=-1)
            gates.append((gate.sigmoid(), new.tanh()))
            x = torch.addcmul(h, gates[-1][0], gates[-1][1] - h)
            kept.append([])
            for i in range(len(w) + 1):
                if i:
                    x = _node(s[:i], seen[:i], w[i - 1], p[i - 1], kept[-1])
                s[i], rstd[t, i], mean[t, i], var[t, i] = normalised(x, bn)
                if mask is not None:
                    torch.mul(s[i], mask, out=seen[i])
            h = torch.mean(s[1:], dim=0, out=outputs[t])
        ctx.kept, ctx.gates, ctx.bn = kept, gates, bn
        ctx.save_for_backward(product, first, u, weights_E4, mask, states, rstd, outputs, *w)
        ctx.mark_non_differentiable(mean, var)
        return outputs, mean, var

    @staticmethod
    def backward(ctx: Any, grad_outputs: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that are needed."""
        product, first, u, weights_E4, mask, states, rstd, outputs, *w = ctx.saved_tensors
        needs_p, needs_w = ctx.needs_input_grad[3], any(ctx.needs_input_grad[6:])
        is_fixed = ctx.bn.mean_D is not None
        p = _by_node(weights_E4, len(w))
        grad_p = [torch.zeros_like(each) for each in p] if needs_p else None
        grad_w = [torch.zeros_like(each) for each in w] if needs_w else None
        grad_product = torch.empty_like(product)
        grad_h = torch.zeros_like(first)
        for t in reversed(range(len(product))):
            s = states[t]
            grads = torch.empty_like(s)
            grads[0] = 0.0
            grads[1:] = (grad_outputs[t] + grad_h) / len(w)
            seen = s if mask is None or not needs_w else s * mask
            for i in range(len(w), 0, -1):
                grad = through_norm(grads[i], s[i], rstd[t, i], is_fixed=is_fixed)
                grad_ch = _node_grad(grad, s[:i], ctx.kept[t][i - 1], p[i - 1], grads[:i], None if grad_p is None else grad_p[i - 1])
                back = grad_ch @ w[i - 1].t()
                grads[:i] += back.view_as(grads[:i]) if mask is None else back.view_as(grads[:i]).mul_(mask)
                if grad_w is not None:
                    grad_w[i - 1].addmm_(seen[:i].flatten(0, 1).t(), grad_ch)
            grad = through_norm(grads[0], s[0], rstd[t, 0], is_fixed=is_fixed)
            gate, new = ctx.gates[t]
            before = outputs[t - 1] if t else first
            width = first.shape[1]
            grad_product[t, :, :width] = grad * (new - before) * gate * (1 - gate)
            grad_product[t, :, width:] = grad * gate * (1 - new * new)
            back = grad_product[t] @ u.t()
            grad_h = torch.addcmul(grad, grad, gate, value=-1).add_(back if mask is None else back * mask)
        grad_u = None
        if ctx.needs_input_grad[2]:
            read = torch.cat([first.unsqueeze(0), outputs[:-1]])
            grad_u = (read if mask is None else read * mask).flatten(0, 1).t() @ grad_product.flatten(0, 1)
        return grad_product, grad_h, grad_u, _joined(grad_p), None, None, *([None] * len(w) if grad_w is None else grad_w)


def _by_node(weights_E4: Tensor, nodes: int) -> list[Tensor]:
    """Return the weights of each node's edges, (5, i, 1, 1): those of the four operations, then their sum."""
    parts = weights_E4.split(list(range(1, nodes + 1)))
    return [torch.cat([part.t(), part.sum(1).unsqueeze(0)]).unsqueeze(-1).unsqueeze(-1) for part in parts]


def _joined(grad_p: Sequence[Tensor] | None) -> Tensor | None:
    """Return the gradient of ``weights_E4``: each operation's own, and that of the sum."""
    return None if grad_p is None else torch.cat([(each[:4] + each[4]).flatten(1).t() for each in grad_p])


def _node(s: Tensor, seen: Tensor, w: Tensor, p: Tensor, kept: list[_Kept]) -> Tensor:
    """Return a node (B, D) ahead of its BatchNorm from the i states before it, and add to ``kept`` what its gradient needs."""
    made = (seen.flatten(0, 1) @ w).view(*s.shape[:2], -1)
    c, h = made.chunk(2, dim=-1)
    kept.append(own := _Kept(c.sigmoid_(), h, h.sigmoid()))
    passing = s * p[4]
    difference = _mixed(p, own, _tanh_of(own.a)).sub_(passing)
    return passing.addcmul_(own.c, difference).sum(0)


def _node_grad(grad: Tensor, s: Tensor, kept: _Kept, p: Tensor, grads: Tensor, grad_p: Tensor | None) -> Tensor:
    """Return the gradient of the products, (i * B, 2D); add to ``grads`` that of the states past them, to ``grad_p`` the weights'."""
    c, h, a = kept
    tanh = _tanh_of(a)
    difference = _mixed(p, kept, tanh).sub_(s * p[4])
    opened = grad * c  # the gradient of the weighed activations
    rest = grad - opened
    made = c.new_empty(*c.shape[:2], 2 * c.shape[2])
    torch.mul(difference.mul_(opened), 1 - c, out=made[..., : c.shape[2]])
    slope = torch.addcmul(p[3] + p[0], tanh, tanh * p[0], value=-1)
    slope.addcmul_(h > 0, p[1]).addcmul_(torch.addcmul(a, a, a, value=-1), p[2])
    torch.mul(slope, opened, out=made[..., c.shape[2] :])
    grads.addcmul_(rest, p[4])
    if grad_p is not None:
        flat = opened.flatten(1).unsqueeze(1)
        for k, f in enumerate((tanh, h.clamp_min(0), a, h)):
            grad_p[k] += torch.bmm(flat, f.flatten(1).unsqueeze(2))
        grad_p[4] += torch.bmm(rest.flatten(1).unsqueeze(1), s.flatten(1).unsqueeze(2))
    return made.flatten(0, 1)
