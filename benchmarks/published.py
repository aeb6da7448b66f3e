"""A search step that costs what the published code's costs, for the ratio of the others to it.

``search.backend: reference`` computes the published forward, but this project's steps around it spare it work, as they do every backend:
weights take part in no gradient of an arch step, alpha in none of a weight step, ``none`` is not computed, the weights' step is one fused
call and the second order copies no model. Here nothing of that is done (quark0/darts, cnn/architect.py, train_search.py and
model_search.py). The parameters move as by :class:`Bilevel`, to rounding; tests/oracle/test_published_steps.py holds both together.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from darts_core.ops.simple import Zero
from darts_core.search.bilevel import Batch, Unrolled
from darts_core.search.steps import Bilevel
from darts_core.supernet.mixed import Edge
from darts_core.supernet.source import Source, Term
from darts_core.supernet.supernet import Supernet


class PublishedSteps:
    """The arch step and the weight step on the modules of ``steps`` (method ``darts``), unrolled if ``second``, else of first order."""

    def __init__(self, steps: Bilevel, *, second: bool) -> None:
        self.supernet, self.second = steps.supernet, second
        self.cfg = steps.cfg
        self.w = steps.w
        self.arch_optimizer = steps.arch_optimizer
        self.w_optimizer = torch.optim.SGD(self.w, lr=self.cfg.lr, momentum=self.cfg.momentum, weight_decay=self.cfg.weight_decay)
        for cell in self.supernet.cells:  # type: ignore[union-attr]
            cell.mixed = _every

    def arch_step(self, *, train: Batch, valid: Batch, lr: float) -> Tensor:
        """Move alpha by its gradient on ``valid``; return the validation loss."""
        self.arch_optimizer.zero_grad()
        loss = self._backward_unrolled(train, valid, lr) if self.second else self._backward(self.supernet, valid)
        self.arch_optimizer.step()
        return loss

    def weight_step(self, train: Batch, *, lr: float) -> Tensor:
        """Move the weights by their clipped gradient on ``train``; return the training loss."""
        self.w_optimizer.zero_grad()
        loss = self._backward(self.supernet, train)
        torch.nn.utils.clip_grad_norm_(self.w, self.cfg.grad_clip)
        for group in self.w_optimizer.param_groups:
            group["lr"] = lr
        self.w_optimizer.step()
        return loss

    @staticmethod
    def _backward(supernet: Supernet, batch: Batch) -> Tensor:
        """Add the gradients of every parameter, alphas and weights alike."""
        loss = supernet.loss(supernet(batch[0]), batch[1])
        loss.backward()
        return loss.detach()

    def _backward_unrolled(self, train: Batch, valid: Batch, lr: float) -> Tensor:
        ahead = self._unrolled(train, lr)
        loss = self._backward(ahead, valid)
        vector = [_grad(p) for p in ahead.weights().values()]
        radius = Unrolled.radius / _flat(vector).norm()
        plus = self._alpha_grads_at(vector, radius, train)
        minus = self._alpha_grads_at(vector, -2 * radius, train)
        self._move(vector, radius)
        for alpha, own, p, m in zip(self.supernet.arch_parameters(), ahead.arch_parameters(), plus, minus):
            alpha.grad = _grad(own) - lr * (p - m) / (2 * radius)
        return loss

    def _unrolled(self, train: Batch, lr: float) -> Supernet:
        """Return a copy of the supernet with the virtual weights."""
        loss = self.supernet.loss(self.supernet(train[0]), train[1])
        theta = _flat(self.w)
        buffers = [self.w_optimizer.state[p].get("momentum_buffer") for p in self.w]
        moment = _flat([torch.zeros_like(p) if held is None else held for p, held in zip(self.w, buffers)])
        grad = _flat(torch.autograd.grad(loss, self.w))
        virtual = theta - lr * (self.cfg.momentum * moment + grad + self.cfg.weight_decay * theta)
        ahead = copy.deepcopy(self.supernet)
        ahead.zero_grad()
        offset = 0
        with torch.no_grad():
            for p in ahead.weights().values():
                p.copy_(virtual[offset : offset + p.numel()].view_as(p))
                offset += p.numel()
        return ahead

    def _alpha_grads_at(self, vector: Sequence[Tensor], shift: Tensor, train: Batch) -> tuple[Tensor, ...]:
        """Shift the weights and return the alphas' gradients there."""
        self._move(vector, shift)
        loss = self.supernet.loss(self.supernet(train[0]), train[1])
        return torch.autograd.grad(loss, self.supernet.arch_parameters())

    def _move(self, vector: Sequence[Tensor], shift: Tensor) -> None:
        with torch.no_grad():
            for p, along in zip(self.w, vector):
                p.add_(shift * along)


def _every(edge: Edge, source: Source, weight_O: Tensor) -> list[Term]:
    """Weigh every candidate, ``none`` included, whose output is a product with 0."""
    return [(weight, _output(op, source.x)) for weight, op in zip(weight_O, edge.values())]


def _output(op: torch.nn.Module, x: Tensor) -> Tensor:
    if isinstance(op, Zero):
        return x[:, :, :: op.stride, :: op.stride].mul(0.0)
    out: Tensor = op(x)
    return out


def _grad(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([x.detach().reshape(-1) for x in tensors])
