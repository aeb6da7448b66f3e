"""Max pooling that remembers where its maxima were in 32 bits instead of 64: a third less to keep of a pooled map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Return ``pool(x)``, (B, C, H', W'), for ``x`` (B, C, H, W); its gradient can be differentiated again."""
    out: Tensor = _MaxPool.apply(x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    return out


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *settings: Any) -> Tensor:
        out, places = torch.ops.aten.max_pool2d_with_indices(x, *(_pair(value) for value in settings))
        ctx.save_for_backward(x, places.to(torch.int32))
        ctx.settings = settings
        result: Tensor = out
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, places = ctx.saved_tensors
        settings = (_pair(value) for value in ctx.settings)
        return torch.ops.aten.max_pool2d_with_indices_backward(grad, x, *settings, places.to(torch.int64)), *(None,) * 5


def _pair(value: Any) -> Any:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value
