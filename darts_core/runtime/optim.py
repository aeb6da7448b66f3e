"""Optimisers in their fastest form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def sgd(parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Return SGD; on the CPU in torch's fused form, where it has one: the same step without a call for each of four products.

    The numbers are those of torch's loop but for the last bit of a tensor's last few elements, those that fill no vector register.
    torch 2.3 has none for the CPU and refuses it. On a GPU torch's own default (foreach) is as good. Two faults of the fused step
    (torch 2.14.1) are mended here: it reads gradients and momentum in the order of their memory, whatever the strides, and where a loss
    scaler skips the first step it keeps memory that nobody has written for momentum.
    """
    own = list(parameters)
    settings: dict[str, Any] = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    if not all(p.device.type == "cpu" and p.is_floating_point() for p in own):
        return torch.optim.SGD(own, **settings)
    try:
        optimizer = torch.optim.SGD(own, fused=True, **settings)
    except (RuntimeError, TypeError):
        return torch.optim.SGD(own, **settings)
    optimizer.register_step_pre_hook(_prepare)
    return optimizer


def _prepare(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Start momentum at zero, and give each gradient and momentum the strides of its parameter.

    A gradient from ``torch.autograd.grad`` has its own strides, and so has a momentum that a backend of another layout saved.
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            if not _lie_alike(p, p.grad):
                p.grad = torch.empty_like(p).copy_(p.grad)
            if not group["momentum"]:
                continue
            momentum = optimizer.state[p].get("momentum_buffer")
            if momentum is None:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
            elif not _lie_alike(p, momentum):
                optimizer.state[p]["momentum_buffer"] = torch.empty_like(p).copy_(momentum)


def _lie_alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape hold their elements in the same order; the stride of a side of length 1 says nothing."""
    if a.stride() == b.stride() or (a.is_contiguous() and b.is_contiguous()):
        return True
    return a.ndim == 4 and all(x.is_contiguous(memory_format=torch.channels_last) for x in (a, b))
