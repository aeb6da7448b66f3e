"""The same sums with less work: what several edges compute from one state is computed once.

Every edge that leaves a state rectifies it, pools it and normalises the pools; the results do not depend on the edge. And a weight
times a BatchNorm without affine parameters is a BatchNorm whose weight it is. Exact, up to rounding: the tests compare loss, gradients
and buffers with :class:`darts_core.supernet.source.PlainSource`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops.conv import FactorizedReduce, ReluFirst
from darts_core.ops.layout import concatenate, subsample
from darts_core.ops.max_pool import max_pool
from darts_core.ops.native.block import is_plain
from darts_core.supernet.source import Term

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
POOL_SETTINGS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad", "divisor_override")
PLAIN_POOL = {"kernel_size": 3, "padding": 1, "dilation": 1, "ceil_mode": False, "count_include_pad": False, "divisor_override": None}
"""Settings of the pools that there are kernels for, of whatever stride."""


@dataclass(frozen=True)
class Pooled:
    """A pooled state; in training, when nothing reads it, the same normalised, with the batch's mean and unbiased variance (C,) each."""

    raw: Tensor
    normalised: Tensor
    mean: Tensor
    variance: Tensor


class SharedSource:
    """A state of a cell that remembers what its edges have computed from it."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self._pools: dict[tuple[object, ...], Pooled] = {}
        self._bare_pools: dict[tuple[object, ...], Tensor] = {}
        self._grids: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def rectified(self) -> Tensor:
        """The state after ReLU."""
        return F.relu(self.x)

    def on_grid(self, stride: int, *, start: int = 0) -> Tensor:
        """Return every ``stride``-th pixel of every ``stride``-th row of the rectified state from ``start`` on."""
        key = stride, start
        if key not in self._grids:
            self._grids[key] = self.rectified if stride == 1 else subsample(self.rectified, stride, start=start)
        return self._grids[key]

    def read_by(self, op: ReluFirst) -> tuple[Tensor, ...]:
        """Return what ``op`` reads, taken once for all edges: the rectified state, or its even and its odd pixels."""
        is_even = self.x.shape[2] % 2 == self.x.shape[3] % 2 == 0
        if isinstance(op, FactorizedReduce) and op.conv1 is not None and is_even:
            return self.on_grid(2), self.on_grid(2, start=1)
        return (self.rectified,)

    def term(self, op: nn.Module, weight: Tensor) -> Term:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        if takes_rectified(op):
            return None, weighted_blocks(op, self, weight)
        if (
            isinstance(op, nn.Sequential)
            and len(op) == 2
            and isinstance(op[0], POOLS)
            and isinstance(op[1], nn.BatchNorm2d)
            and is_plain(op[1])
        ):
            return self._pool(op[0], op[1], weight)
        if isinstance(op, POOLS):
            return weight, self._bare_pool(op)
        return weight, op(self.x)

    def _bare_pool(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> Tensor:
        key = _pool_key(pool)
        if key not in self._bare_pools:
            self._bare_pools[key] = apply_pool(pool, self.x)
        return self._bare_pools[key]

    def _pool(self, pool: nn.MaxPool2d | nn.AvgPool2d, bn: nn.BatchNorm2d, weight: Tensor) -> Term:
        key = (*_pool_key(pool), bn.eps, bn.training)
        if key not in self._pools:
            self._pools[key] = self.pooled(pool, bn)
        pooled = self._pools[key]
        if not bn.training:
            return None, _weighted_batch_norm(bn, pooled.raw, weight)
        assert bn.num_batches_tracked is not None
        assert bn.running_mean is not None
        assert bn.running_var is not None
        assert bn.momentum is not None
        with torch.no_grad():  # each edge has buffers of its own; they move, though the maps are shared
            bn.num_batches_tracked += 1
            bn.running_mean.lerp_(pooled.mean, bn.momentum)
            bn.running_var.lerp_(pooled.variance, bn.momentum)
        return weight, pooled.normalised

    def pooled(self, pool: nn.MaxPool2d | nn.AvgPool2d, bn: nn.BatchNorm2d) -> Pooled:
        """Return the state pooled, for all edges with this pool and a BatchNorm like this one."""
        return normalise_batch(apply_pool(pool, self.x), bn)


def takes_rectified(op: nn.Module) -> TypeGuard[ReluFirst]:
    """Return whether ``op`` is ReLU, convolutions and a BatchNorm that can carry its weight."""
    return isinstance(op, ReluFirst) and type(op).forward is ReluFirst.forward and is_plain(op.last_bn)


def weighted_blocks(op: ReluFirst, source: SharedSource, weight: Tensor) -> Tensor:
    """Return ``weight`` (a scalar) times what ``op`` makes of the state of ``source``."""
    read = source.read_by(op)
    convolved = op.convolve_grids(*read) if isinstance(op, FactorizedReduce) and len(read) == 2 else op.convolve(*read)
    return _weighted_batch_norm(op.last_bn, convolved, weight)


def apply_pool(pool: nn.MaxPool2d | nn.AvgPool2d, x: Tensor) -> Tensor:
    """Return the pooled state, of which little is kept for the backward pass."""
    if type(pool) is nn.MaxPool2d and not pool.return_indices:
        return max_pool(pool, x)
    out: Tensor = pool(x)
    return out


def _pool_key(pool: nn.MaxPool2d | nn.AvgPool2d) -> tuple[object, ...]:
    return type(pool), *(getattr(pool, name, None) for name in POOL_SETTINGS)


def normalise_batch(x: Tensor, bn: nn.BatchNorm2d) -> Pooled:
    """Return a pooled state (B, C, H, W), normalised as ``bn`` would; no buffer of ``bn`` moves."""
    mean, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    if not bn.training:
        return Pooled(x, x, mean, variance)
    # With momentum 1 the buffers take the batch's own statistics.
    return Pooled(x, F.batch_norm(x, mean, variance, training=True, momentum=1.0, eps=bn.eps), mean, variance)


def _weighted_batch_norm(bn: nn.BatchNorm2d, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight * bn(x)`` in one pass, for a BatchNorm without affine parameters."""
    if bn.training and bn.num_batches_tracked is not None:
        bn.num_batches_tracked += 1
    assert bn.momentum is not None
    # Contiguous: torch 2.14.1 reads past the end of an expanded weight when it differentiates channels-last images on the CPU.
    scale = weight.to(x.dtype).expand(bn.num_features).contiguous()
    return F.batch_norm(x, bn.running_mean, bn.running_var, scale, None, bn.training, bn.momentum, bn.eps)


def shared_total(terms: Iterable[Term]) -> Tensor:
    """Return the sum of the terms: what is fresh is added to in place, the weighted maps are summed in one go."""
    fresh, weighted = [], []
    for weight, x in terms:
        fresh.append(x) if weight is None else weighted.append((weight, x))
    total = fresh[0] if fresh else None
    for x in fresh[1:]:
        total = total.add_(x)  # type: ignore[union-attr]
    if weighted:
        mixed = _WeightedSum.apply(torch.stack([weight for weight, _ in weighted]), *(x for _, x in weighted))
        total = mixed if total is None else total.add_(mixed)
    assert total is not None, "an edge adds at least one term"
    return total


class _WeightedSum(torch.autograd.Function):
    """sum_k weight_K[k] * maps[k], without a product of its own for each map."""

    @staticmethod
    def forward(ctx: Any, weight_K: Tensor, *maps: Tensor) -> Tensor:
        ctx.save_for_backward(weight_K, *maps)
        total = maps[0] * weight_K[0]
        if weight_K.device.type == "cpu":
            for x, weight in zip(maps[1:], weight_K[1:].tolist()):
                total.add_(x, alpha=weight)
        else:  # reading a number would wait for the GPU
            for x, weight in zip(maps[1:], weight_K[1:].unbind()):
                total.addcmul_(x, weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight_K, *maps = ctx.saved_tensors
        wants_weight, *wants_map = ctx.needs_input_grad
        grad_K = _inner_products(grad, maps) if wants_weight else None
        return grad_K, *(grad * weight if wants else None for weight, wants in zip(weight_K.unbind(), wants_map))


def _inner_products(grad: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Return the sum of ``grad * x`` for each map, (K,), without writing the products down."""

    def flat(x_BCHW: Tensor) -> Tensor:
        return x_BCHW.reshape(-1) if grad.is_contiguous() else x_BCHW.permute(0, 2, 3, 1).reshape(-1)

    along = flat(grad)
    return torch.stack([torch.dot(along, flat(x)) for x in maps])


def rectified_concat(sources: Sequence[SharedSource]) -> Tensor:
    """Return the concatenated states after ReLU, which the next cells would rectify anyway: (B, nodes * C, H, W)."""
    return concatenate([source.rectified for source in sources])
