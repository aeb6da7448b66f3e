"""Architecture gradients of the bilevel problem: alpha on validation data, weights on training data (DARTS, arXiv:1806.09055, section 2.3).

The virtual weights are w' = w - xi * (momentum * buffer + dL_train/dw + weight_decay * w), xi the present learning rate of the weights,
as the reference computes them (quark0/darts, cnn/architect.py; the paper leaves momentum and weight decay out). The weights themselves
are never written to: a virtual forward takes its weights as arguments. Every forward runs in training mode and so moves BatchNorm's
running statistics; in the reference the virtual one moves those of a copy. Only the supernet's accuracy in evaluation mode depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from darts_core.registry import Registry
from darts_core.supernet.supernet import Supernet

Batch = tuple[Any, Tensor]
"""What the supernet reads, images or a window of a text, and its targets."""
Loss = Callable[[Any, Tensor], Tensor]
"""What :meth:`Supernet.scores` returns, and targets -> a scalar."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class InnerStep:
    """The weight step that the virtual weights anticipate; ``grad_clip`` is the largest norm of its gradient, None: not clipped."""

    lr: float
    momentum: float
    weight_decay: float
    optimizer: Optimizer
    grad_clip: float | None = None


class ArchGradient(Protocol):
    """Sets ``alpha.grad`` of every architecture parameter and returns the validation loss (a scalar) that was differentiated.

    ``graphs`` is how many forward passes it keeps in memory at once; ``operations`` how many an arch step and a weight step make for
    each multiply-add (MAC) of a forward pass: 2 in that pass, 2 for the gradients of the maps, 2 for those of the weights.
    """

    graphs: int
    operations: int

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor: ...  # noqa: D102


ARCH_GRADIENTS: Registry[ArchGradient] = Registry("architecture gradient", key="method.arch_gradient")


@ARCH_GRADIENTS.register("first")
class FirstOrder:
    """dL_valid(w, alpha)/dalpha: the weights count as given (xi = 0)."""

    graphs = 1
    operations = 4 + 6  # the arch step needs no gradient of the weights

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Set the alphas' gradients; return the validation loss."""
        alphas = supernet.arch_parameters()
        with frozen(supernet.weights().values()):
            value = loss(supernet.scores(valid[0]), valid[1])
            set_grad(alphas, _grads(value, alphas))
        return value.detach()


class SingleLevel:
    """dL_train(w, alpha)/dalpha: alpha moves on the batch that the weights move on."""

    graphs = 1
    operations = FirstOrder.operations

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Set the alphas' gradients; return the training loss."""
        return FirstOrder()(supernet, loss, train=train, valid=train, inner=inner)


class Still:
    """No gradient: alpha stands still, and the search takes weight steps alone."""

    graphs = 1
    operations = 6

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Raise: nothing takes an arch step."""
        raise AssertionError("no arch step is taken with this gradient")


@ARCH_GRADIENTS.register("unrolled")
class Unrolled:
    """The reference's second order: the Hessian-vector product by a central difference on the training batch.

    The step of the difference is 0.01 / ||dL_valid/dw'||. On networks with ReLU or max pooling it is dominated by kinks and is no
    approximation of ``exact``; the two are separate methods. Where the virtual step is clipped, so is dL_valid/dw', and the difference is
    scaled by the clip's ``max_norm / (norm + 1e-6)`` even where that is above 1 (quark0/darts, rnn/architect.py).
    """

    graphs = 1
    operations = 6 + 6 + 4 + 4 + 6
    radius = 1e-2

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Set the alphas' gradients; return the validation loss at the virtual weights."""
        w, alphas = supernet.weights(), supernet.arch_parameters()
        with frozen(alphas):
            grads = _grads(loss(supernet.scores(train[0]), train[1]), list(w.values()))
        share = _clip_share(grads, inner.grad_clip)
        held = supernet.held_virtually
        value, direct, vector = _gradients_at_virtual_weights(supernet, loss, _clipped(grads, share), valid=valid, inner=inner, held=held)
        vector = _clipped(vector, _clip_share(vector, inner.grad_clip))
        epsilon = self.radius / _norm(vector)
        plus, minus = (self._shifted_grad(supernet, loss, w, vector, sign * epsilon, train) for sign in (1.0, -1.0))
        scale = inner.lr if share is None else inner.lr * share  # the share counts above 1, too, as the reference has it
        set_grad(alphas, [d - scale * (p - m) / (2.0 * epsilon) for d, p, m in zip(direct, plus, minus)])
        return value

    @staticmethod
    def _shifted_grad(
        supernet: Supernet, loss: Loss, w: Mapping[str, Tensor], vector: Sequence[Tensor], shift: Tensor, train: Batch
    ) -> tuple[Tensor, ...]:
        shifted = {name: p.detach() + shift * v for (name, p), v in zip(w.items(), vector)}
        return _at(supernet, shifted, lambda: _grads(loss(supernet.scores(train[0]), train[1]), supernet.arch_parameters()))


@ARCH_GRADIENTS.register("exact")
class Exact:
    """The same second order with the Hessian-vector product by automatic differentiation, exact to rounding.

    The gradient's own graph keeps what it computes, cells that are computed again included: ``search.memory: lean`` saves nothing.
    """

    graphs = 3
    operations = Unrolled.operations  # counted like it, though it does more

    def __call__(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Set the alphas' gradients; return the validation loss at the virtual weights."""
        w, alphas = supernet.weights(), supernet.arch_parameters()
        with supernet.differentiable_twice():
            train_loss = loss(supernet.scores(train[0]), train[1])
            grads = _grads(train_loss, list(w.values()), create_graph=True)
            grads = _clipped(grads, _clip_share(grads, inner.grad_clip))  # differentiated, too
        value, direct, vector = _gradients_at_virtual_weights(supernet, loss, grads, valid=valid, inner=inner)
        felt = [(grad, along) for grad, along in zip(grads, vector) if grad.requires_grad]  # what is not computed has none
        implicit = torch.autograd.grad(
            [grad for grad, _ in felt], alphas, [along for _, along in felt], allow_unused=True, materialize_grads=True
        )
        set_grad(alphas, [d - inner.lr * i for d, i in zip(direct, implicit)])
        return value


@contextmanager
def frozen(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Within, ``parameters`` take part in no gradient, which is then cheaper to compute."""
    held = [(p, p.requires_grad) for p in parameters]
    for p, _ in held:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, before in held:
            p.requires_grad_(before)


def _gradients_at_virtual_weights(
    supernet: Supernet, loss: Loss, grads: Sequence[Tensor], *, valid: Batch, inner: InnerStep, held: frozenset[str] = frozenset()
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the validation loss at w', and its gradients with respect to alpha and to w'; the weights ``held`` are those of w."""
    alphas = supernet.arch_parameters()
    with torch.no_grad():
        virtual = _virtual_weights(supernet.weights(), grads, inner)
        virtual |= {name: p.clone() for name, p in supernet.weights().items() if name in held}
    leaves = {name: value.detach().requires_grad_() for name, value in virtual.items()}

    def gradients() -> tuple[Tensor, tuple[Tensor, ...]]:
        value = loss(supernet.scores(valid[0]), valid[1])
        return value.detach(), _grads(value, [*alphas, *leaves.values()])

    value, both = _at(supernet, leaves, gradients)
    return value, both[: len(alphas)], both[len(alphas) :]


def _at(supernet: Supernet, weights: Mapping[str, Tensor], compute: Callable[[], T]) -> T:
    """Return ``compute()`` with ``weights`` in the place of the supernet's own, for its backward pass, too: it may compute cells again."""
    out: T = functional_call(_Around(supernet, compute), {f"supernet.{name}": value for name, value in weights.items()}, ())
    return out


class _Around(nn.Module):
    """A module whose forward is any computation on ``supernet``."""

    def __init__(self, supernet: Supernet, compute: Callable[[], Any]) -> None:
        super().__init__()
        self.supernet = supernet
        self.compute = compute

    def forward(self) -> Any:
        return self.compute()


def _virtual_weights(w: Mapping[str, nn.Parameter], grads: Sequence[Tensor], inner: InnerStep) -> dict[str, Tensor]:
    virtual = {}
    for (name, p), grad in zip(w.items(), grads):
        step = grad + inner.weight_decay * p
        buffer = inner.optimizer.state[p].get("momentum_buffer") if p in inner.optimizer.state else None
        if buffer is not None:
            step = step + inner.momentum * buffer
        virtual[name] = p - inner.lr * step
    return virtual


def _norm(grads: Sequence[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))


def _clip_share(grads: Sequence[Tensor], grad_clip: float | None) -> Tensor | None:
    """Return ``grad_clip`` over the gradients' norm, more than 1 where they are not clipped; None where nothing is."""
    return None if grad_clip is None else grad_clip / (_norm(grads) + 1e-6)


def _clipped(grads: Sequence[Tensor], share: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(grads) if share is None else tuple(grad * share.clamp(max=1.0) for grad in grads)


def _grads(value: Tensor, of: Sequence[Tensor], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Return the gradients of ``value``, 0 for what it does not depend on: operations that are not computed, alpha behind noise alone."""
    return torch.autograd.grad(value, of, create_graph=create_graph, allow_unused=True, materialize_grads=True)


def set_grad(alphas: Sequence[nn.Parameter], grads: Sequence[Tensor]) -> None:
    """Give each architecture parameter its gradient."""
    for alpha, grad in zip(alphas, grads):
        alpha.grad = grad.detach()
