"""The curvature of the validation loss along alpha: its dominant eigenvalue tells a search that will collapse (arXiv:1909.09656)."""

from __future__ import annotations

import torch
from torch import Tensor

from darts_core.nets.dropout import Noise
from darts_core.search.bilevel import Batch, Loss, frozen
from darts_core.supernet.skip_dropout import whole_skips
from darts_core.supernet.supernet import Supernet


def dominant_eigenvalue(
    supernet: Supernet, loss: Loss, batch: Batch, *, generator: torch.Generator, iterations: int = 20, tolerance: float = 1e-3
) -> float:
    """Return the largest eigenvalue (lambda_max, arXiv:1909.09656) of the Hessian of ``loss`` on ``batch`` by all architecture parameters.

    It is no other one where a negative eigenvalue is of larger magnitude: from epoch to epoch the two ends would take turns.

    By Lanczos' method with full reorthogonalisation: one product of the Hessian with a vector, which is one backward pass through the
    gradient's graph, an iteration; at most ``iterations``, fewer once the residual is below ``tolerance`` times the eigenvalue.
    ``generator`` (CPU) draws the first vector. The forward pass is that of a training step, where weights are drawn at the expected ones;
    no value on a skip connection is left out; the supernet's buffers and random streams stay as they are.
    """
    alphas = supernet.arch_parameters()
    buffers = [(buffer, buffer.clone()) for buffer in supernet.buffers()]
    streams = [(noise, noise.get_extra_state()) for noise in supernet.modules() if isinstance(noise, Noise)]
    was_training = supernet.training
    supernet.train()
    try:
        with (
            whole_skips(supernet),
            supernet.differentiable_twice(),
            frozen(supernet.weights().values()),
            supernet.weighing(supernet.op_weights()),
        ):
            grads = torch.autograd.grad(
                loss(supernet(batch[0]), batch[1]), alphas, create_graph=True, allow_unused=True, materialize_grads=True
            )
            flat = torch.cat([grad.flatten() for grad in grads])
            return _lanczos(flat, alphas, generator=generator, iterations=iterations, tolerance=tolerance)
    finally:
        supernet.train(was_training)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for noise, state in streams:
            noise.set_extra_state(state)


def _lanczos(gradient: Tensor, alphas: list[torch.nn.Parameter], *, generator: torch.Generator, iterations: int, tolerance: float) -> float:
    start = torch.randn(len(gradient), dtype=torch.float64, generator=generator)
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    found = 0.0
    for _ in range(min(iterations, len(gradient))):
        product = _product(gradient, alphas, basis[-1])
        diagonal.append(float(product @ basis[-1]))
        known = torch.stack(basis)
        for _ in range(2):  # the second pass takes away what rounding left of the first
            product = product - known.T @ (known @ product)
        rest = float(product.norm())
        small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        for k, value in enumerate(beside):
            small[k, k + 1] = small[k + 1, k] = value
        values, vectors = torch.linalg.eigh(small)
        best = int(values.argmax())
        found = float(values[best])
        if rest * abs(float(vectors[-1, best])) <= tolerance * abs(found):
            break
        beside.append(rest)
        basis.append(product / rest)
    return found


def _product(gradient: Tensor, alphas: list[torch.nn.Parameter], vector: Tensor) -> Tensor:
    """Return the Hessian times ``vector``, (parameters,), in float64 on the CPU."""
    direction = vector.to(device=gradient.device, dtype=gradient.dtype)
    parts = torch.autograd.grad(gradient, alphas, grad_outputs=direction, retain_graph=True, allow_unused=True)
    return torch.cat([torch.zeros_like(a).flatten() if part is None else part.flatten() for a, part in zip(alphas, parts)]).double().cpu()
