"""Memory for time: forget what a cell computes and compute it again when its gradient is needed (Chen et al., arXiv:1604.06174)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def recomputed(modules: Sequence[nn.Module], compute: Callable[..., T], *inputs: Tensor | Sequence[Tensor] | None) -> T:
    """Return ``compute(*inputs)`` and keep of it the inputs alone for the backward pass.

    The BatchNorms of ``modules`` see the batch twice and count it once.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), BatchNormsStandStill(*modules)

    out: T = checkpoint(compute, *inputs, use_reentrant=False, context_fn=contexts)
    return out


class BatchNormsStandStill(AbstractContextManager[None]):
    """Within, no BatchNorm of ``modules`` moves its buffers. Can be entered again: a second derivative computes a cell a third time."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._before: list[tuple[nn.BatchNorm1d | nn.BatchNorm2d, float | None, Tensor]] = []

    def __enter__(self) -> None:
        for bn in (part for module in self._modules for part in module.modules()):
            if isinstance(bn, nn.BatchNorm1d | nn.BatchNorm2d) and bn.num_batches_tracked is not None:
                self._before.append((bn, bn.momentum, bn.num_batches_tracked.clone()))
                bn.momentum = 0.0

    def __exit__(self, *error: object) -> None:
        while self._before:
            bn, momentum, count = self._before.pop()
            bn.momentum, bn.num_batches_tracked = momentum, count
