"""Edges by functions that ``torch.compile`` has made of :mod:`darts_core.ops.edge`: one a shape, whichever edge or cell it is.

What an edge's candidates add is noted as they are named. A node's total computes each edge that has convolutions in one function of
autograd, with weights and BatchNorm moments as arguments and results, and keeps its inputs alone. Pools are shared by a state's edges as in
:class:`darts_core.supernet.shared.SharedSource`, whose way all other candidates go, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from darts_core.ops.conv import ReluFirst
from darts_core.ops.edge import EdgePlan, Step, edge_backward, edge_forward
from darts_core.ops.native.block import Block
from darts_core.runtime.compiler import BuildError
from darts_core.supernet.shared import SharedSource, shared_total
from darts_core.supernet.source import Term

_RECOMPILE_LIMIT = 256
"""Of shapes that one function is compiled for; torch's own limit, 8, is too small for one supernet."""


@dataclass(frozen=True, eq=False)
class Noted:
    """What a candidate adds: its blocks on the source's state, to be computed with the edge, or else a map that is there."""

    source: CompiledSource
    x: Tensor
    blocks: tuple[Block, ...] = ()


class CompiledSource(SharedSource):
    """A state that notes what its edges want of it; ``compiles=False`` computes the same functions as they stand."""

    def __init__(self, x: Tensor, *, compiles: bool = True) -> None:
        super().__init__(x)
        self.compiles = compiles and x.device.type != "meta"

    def term(self, op: nn.Module, weight: Tensor) -> tuple[Tensor | None, Any]:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        if isinstance(op, nn.Identity):
            return weight, Noted(self, self.x)
        if isinstance(op, ReluFirst) and type(op).forward is ReluFirst.forward and self._suits(op.blocks):
            return weight, Noted(self, self.x, op.blocks)
        own, x = super().term(op, weight)
        return own, x if own is None else Noted(self, x)

    def _suits(self, blocks: Sequence[Block]) -> bool:
        """Whether the edge functions compute these blocks, in training, on more than one pixel."""
        if not blocks or not torch.is_grad_enabled() or not all(block.has_kernel and block.fits(self.x) for block in blocks):
            return False
        (height, width), batch = blocks[0].out_size((self.x.shape[2], self.x.shape[3])), self.x.shape[0]
        return all(b.bn.training for b in blocks) and all(b.keeps_size for b in blocks[1:]) and batch * height * width > 1


def compiled_total(terms: Iterable[tuple[Tensor | None, Any]]) -> Tensor:
    """Return the sum of the terms, those of an edge with convolutions by one function."""
    edges: dict[int, list[tuple[Tensor, Noted]]] = {}
    plain: list[Term] = []
    for weight, x in terms:
        if isinstance(x, Noted):
            assert weight is not None
            edges.setdefault(id(x.source), []).append((weight, x))
        else:
            plain.append((weight, x))
    sums: list[Tensor] = []
    for noted in edges.values():
        if any(x.blocks for _, x in noted):
            sums.append(_edge(noted))
        else:
            plain.extend((weight, x.x) for weight, x in noted)
    if sums:  # they are views: the first may not be added to in place
        plain.append((None, _total(sums) if len(sums) > 1 else sums[0].clone()))
    return shared_total(plain)


def _edge(noted: Sequence[tuple[Tensor, Noted]]) -> Tensor:
    """Return what one edge adds, (B, C, H, W), and move the buffers of its BatchNorms."""
    source = noted[0][1].source
    chains = [(weight, x.blocks) for weight, x in noted if x.blocks]
    maps = [(weight, x.x) for weight, x in noted if not x.blocks and x.x is not source.x]
    states = [weight for weight, x in noted if not x.blocks and x.x is source.x]
    blocks = [block for _, chain in chains for block in chain]
    plan = EdgePlan(tuple(tuple(_step(block) for block in chain) for _, chain in chains), len(maps), bool(states))
    weights = torch.stack([weight for weight, _ in (*chains, *maps)] + ([_total(states)] if states else []))
    parameters = [p for block in blocks for p in block.weights]
    out, moments = _Edge.apply(plan, source.compiles, weights, source.x, *(x for _, x in maps), *parameters)
    _move_buffers(blocks, moments, pixels=out.numel() // out.shape[1])
    edge: Tensor = out
    return edge


def _step(block: Block) -> Step:
    conv = block.depthwise
    return Step(conv.kernel_size[0], conv.stride[0], int(conv.padding[0]), conv.dilation[0], block.bn.eps)


def _total(summands: Sequence[Tensor]) -> Tensor:
    return sum(summands[1:], start=summands[0])


@torch.no_grad()
def _move_buffers(blocks: Sequence[Block], moments: Tensor, *, pixels: int) -> None:
    means, variances = moments[0].unbind(), (moments[1] * (pixels / (pixels - 1))).unbind()
    for block, mean, variance in zip(blocks, means, variances):
        bn = block.bn
        assert bn.num_batches_tracked is not None
        assert bn.running_mean is not None
        assert bn.running_var is not None
        assert bn.momentum is not None
        bn.num_batches_tracked += 1
        # By ``data``, unseen by autograd, as F.batch_norm does: it may have saved them, though it will not read them in training.
        bn.running_mean.data.lerp_(mean, bn.momentum)
        bn.running_var.data.lerp_(variance, bn.momentum)


class _Edge(torch.autograd.Function):
    """The weights (terms,), the state, then the maps, then the blocks' weights by twos -> the sum (B, C, H', W') and the moments."""

    @staticmethod
    def forward(ctx: Any, plan: EdgePlan, compiles: bool, weights: Tensor, x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        ctx.plan, ctx.compiles = plan, compiles
        maps, convs = others[: plan.maps], others[plan.maps :]
        out, moments = _call("forward", plan, compiles, [x, *maps], [weights, *convs])
        ctx.save_for_backward(weights, x, moments, *others)
        ctx.mark_non_differentiable(moments)
        return out, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        plan: EdgePlan = ctx.plan
        weights, x, moments, *others = ctx.saved_tensors
        maps, convs = others[: plan.maps], others[plan.maps :]
        wants_convs = any(ctx.needs_input_grad[4 + plan.maps :])
        name = "backward" if wants_convs else "backward, weights frozen"
        grad_x, grad_weights, grad_convs, grad_maps = _call(name, plan, ctx.compiles, [grad, x, *maps], [weights, moments, *convs])
        return None, None, grad_weights, grad_x, *grad_maps, *(grad_convs if wants_convs else [None] * len(convs))


def _call(name: str, plan: EdgePlan, compiles: bool, maps: Sequence[Tensor], others: Sequence[Tensor]) -> Any:
    """Compute a function of :data:`_FUNCTIONS`; the first time for a shape, that compiles it. Raises BuildError if it cannot be done."""
    # What a gradient is asked of, and strides, even those of a side of one, would be reasons to compile again.
    maps, others = [_laid_out(x.detach()) for x in maps], [x.detach().reshape(-1).view(x.shape) for x in others]
    function = _FUNCTIONS[name]
    if not compiles:
        return function(plan, maps, others)
    key = (name, plan, maps[0].dtype, maps[0].device, *((x.shape, x.stride()) for x in maps))
    if key in _READY:
        return _compiled(name, plan)(maps, others)
    for x in maps:
        torch._dynamo.maybe_mark_dynamic(x, 0)  # an epoch's last batch, and the self-check's, are smaller
    try:
        with _raised_limit():
            out = _compiled(name, plan)(maps, others)
    except Exception as error:
        raise BuildError(f"torch.compile failed: {_first_line(error)}") from error
    _READY.add(key)
    return out


def _forward(plan: EdgePlan, maps: Sequence[Tensor], others: Sequence[Tensor]) -> Any:
    (x, *added), (weights, *convs) = maps, others
    return edge_forward(plan, x, weights, convs, added)


def _backward(plan: EdgePlan, maps: Sequence[Tensor], others: Sequence[Tensor], *, wants_convs: bool = True) -> Any:
    (grad, x, *added), (weights, moments, *convs) = maps, others
    return edge_backward(plan, grad, x, weights, convs, added, moments, wants_convs=wants_convs)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "forward": _forward,
    "backward": _backward,
    "backward, weights frozen": partial(_backward, wants_convs=False),
}
_READY: set[tuple[object, ...]] = set()


@cache
def _compiled(name: str, plan: EdgePlan) -> Callable[..., Any]:
    function = _FUNCTIONS[name]

    def edge(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Any:
        return function(plan, maps, others)

    return torch.compile(edge, fullgraph=True, dynamic=False)


def _raised_limit() -> Any:
    """Return a context in which one function may be compiled for many shapes; the setting has had two names."""
    import torch._dynamo.config as settings

    names = ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit", "accumulated_cache_size_limit")
    known = {name: _RECOMPILE_LIMIT for name in names if hasattr(settings, name)}
    return settings.patch(known)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)  # what the compiler said, without the frames around it
    return next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)


def _laid_out(x: Tensor) -> Tensor:
    """Return a map in the layout that eager has on its device."""
    return x.contiguous(memory_format=torch.channels_last if x.device.type == "cpu" else torch.contiguous_format)
