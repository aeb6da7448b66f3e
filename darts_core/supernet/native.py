"""A cell by the kernels of :mod:`darts_core.ops.native`: convolutions, pools, BatchNorms, weighted sums and the output in one function.

Nothing is computed when an edge names its candidates or a node sums them up: both are noted. When the cell's output is asked for, one
function of autograd computes all of it and keeps the nodes, the pooled states and the maps ahead of the convolutions' BatchNorms; the
rest is computed again in the backward pass. Candidates that the kernels do not know are computed as by
:class:`darts_core.supernet.shared.SharedSource`; if they read a node, what leads to it is computed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from darts_core.ops.native.cell import Cell, Kept
from darts_core.ops.native.fit import Fit
from darts_core.runtime.workspace import Workspace
from darts_core.supernet.candidates import Candidates, kind_of
from darts_core.supernet.plan import Candidate, Reading
from darts_core.supernet.shared import SharedSource, shared_total


@dataclass(frozen=True, eq=False)
class Noted:
    """A candidate on a state, to be computed with the cell."""

    source: NativeSource
    candidate: Candidate


@dataclass(frozen=True, eq=False)
class Node:
    """A state that is not computed yet: (weight, what is added) by the order of its edges."""

    terms: Sequence[tuple[Tensor | None, Tensor | Noted]]

    @cached_property
    def like(self) -> Tensor:
        """Any tensor of the cell; all have one device and one precision."""
        return next(x.source.like if isinstance(x, Noted) else x for _, x in self.terms)

    @cached_property
    def is_training(self) -> bool:
        """Whether the batch's moments are used, as is known from any term."""
        return any(isinstance(x, Noted) and x.candidate.is_training for _, x in self.terms)


class NativeSource:
    """A state of the cell, computed or only noted. ``known`` remembers, beyond this state, what operations are.

    What its cell keeps lies in ``workspace``, where one is given: one cell's at a time.
    """

    def __init__(self, state: Tensor | Node, known: Candidates | None = None, workspace: Workspace | None = None) -> None:
        self.state = state
        self.workspace = workspace
        self._shared: SharedSource | None = None
        self.known = Candidates() if known is None else known
        self._kind = kind_of(self.like)

    @property
    def like(self) -> Tensor:
        """A tensor of the state's device and precision."""
        return self.state.like if isinstance(self.state, Node) else self.state

    @property
    def x(self) -> Tensor:
        """The state, (B, C, H, W); computes it, and the nodes that it reads before it: within it they would be computed once more later."""
        if isinstance(self.state, Node):
            for _, x in self.state.terms:
                if isinstance(x, Noted):
                    _ = x.source.x
            self.state = compute([self], rectifies=False)
        return self.state

    def term(self, op: nn.Module, weight: Tensor) -> tuple[Tensor | None, Any]:
        """Return what ``op``, weighed by ``weight`` (a scalar), adds to the state that its edge leads to."""
        found = self.known.find_usable(op, self.like, self._kind)
        if found is not None:
            return weight, fitted(found.fit, self.x, rectifies=True) if found.fit is not None else Noted(self, found)
        if self._shared is None:
            self._shared = SharedSource(self.x)
        return self._shared.term(op, weight)


def native_total(terms: Iterable[tuple[Tensor | None, Any]]) -> Tensor | Node:
    """Return the sum of the terms, noted if one of them is."""
    own = list(terms)
    if any(isinstance(x, Noted) for _, x in own):
        return Node(own)
    return shared_total(own)


def compute(sources: Sequence[NativeSource], *, rectifies: bool) -> Tensor:
    """Return the states joined along the channels, after ReLU if ``rectifies``, (B, len(sources) * C, H, W); at least one is a node."""
    order: dict[int, NativeSource] = {}
    for source in sources:
        _visit(source, order)
    given = [source for source in order.values() if isinstance(source.state, Tensor)]
    nodes = [source for source in order.values() if isinstance(source.state, Node)]
    numbers = {id(source): number for number, source in enumerate((*given, *nodes))}
    weights: list[Tensor | None] = []
    maps: list[Tensor] = []
    readings: list[tuple[Reading, ...]] = []
    for node in nodes:
        terms: list[Reading] = []
        for weight, x in node.state.terms:  # type: ignore[union-attr]
            weights.append(weight)
            if isinstance(x, Tensor):
                maps.append(x)
                terms.append(None)
            else:
                terms.append((numbers[id(x.source)], x.candidate))
        readings.append(tuple(terms))
    is_training = any(node.state.is_training for node in nodes if isinstance(node.state, Node))
    outputs = tuple(numbers[id(source)] for source in sources)
    cell = sources[0].known.plan(tuple(readings), len(given), outputs, rectifies, _size(nodes[0]), is_training)
    one = next(weight for weight in weights if weight is not None).new_ones(())  # a noted term has a weight
    parameters = [p for block in cell.blocks for p in block.weights]
    weights_T = torch.stack([one if weight is None else weight for weight in weights])
    out: Tensor = _Cell.apply(cell, sources[0].workspace, weights_T, *(source.x for source in given), *maps, *parameters)
    return out


def fitted(fit: Fit, x: Tensor, *, rectifies: bool) -> Tensor:
    """Return ``fit`` of ``x``, (B, C_in, H, W), after ReLU if ``rectifies``, and with its BatchNorm."""
    out: Tensor = _Fit.apply(fit, rectifies, x, *fit.weights)
    return out


class _Fit(torch.autograd.Function):
    """A map (B, C_in, H, W), then the weights of the convolutions -> the normalised output (B, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, fit: Fit, rectifies: bool, x: Tensor, *weights: Tensor) -> Tensor:
        (x,) = _channels_last([x])
        out, rstd = fit.forward(x, weights, rectifies=rectifies)
        ctx.fit, ctx.rectifies = fit, rectifies
        ctx.save_for_backward(x, out, rstd, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, rstd, *weights = ctx.saved_tensors
        x, out, grad = _channels_last([x, out, grad])
        wants = ctx.needs_input_grad[2:]
        return None, None, *ctx.fit.backward(grad, x, out, rstd.contiguous(), weights, rectifies=ctx.rectifies, wants=wants)


class _Cell(torch.autograd.Function):
    """The weights (terms,), then leaves, maps and the blocks' weights by twos -> the cell's output (B, outputs * C, H, W)."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, workspace: Workspace | None, weights_T: Tensor, *tensors: Tensor) -> Tensor:
        leaves, maps, parameters = _split(cell, tensors)
        leaves, maps = _channels_last(leaves), _channels_last(maps)
        weights = [0.0] * len(weights_T) if weights_T.is_meta else weights_T.tolist()
        out, kept = cell.forward(weights, leaves, maps, parameters, workspace=workspace)
        ctx.cell = cell
        ctx.save_for_backward(weights_T, kept.maps, kept.moments, *leaves, *maps, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cell: Cell = ctx.cell
        weights_T, kept_maps, kept_moments, *saved = ctx.saved_tensors
        leaves, maps, parameters = _split(cell, saved)
        # A hook may have given back what was saved in another layout.
        leaves, maps, (grad,) = _channels_last(leaves), _channels_last(maps), _channels_last([grad])
        grad_weights, *others = cell.backward(
            grad,
            weights_T.tolist(),
            leaves,
            maps,
            parameters,
            Kept(kept_maps.contiguous(), kept_moments.contiguous()),
            wants=_split(cell, ctx.needs_input_grad[3:]),
        )
        return None, None, grad_weights.to(weights_T.dtype), *chain.from_iterable(others)


def _split(cell: Cell, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Return what belongs to leaves, to maps and to the blocks' weights."""
    end = cell.leaves + cell.maps
    return values[: cell.leaves], values[cell.leaves : end], values[end:]


def _channels_last(maps: Sequence[Tensor]) -> list[Tensor]:
    return [x.contiguous(memory_format=torch.channels_last) for x in maps]


def _visit(source: NativeSource, order: dict[int, NativeSource]) -> None:
    """Put a state into ``order`` after all that it reads."""
    if id(source) in order:
        return
    if isinstance(source.state, Node):
        for _, x in source.state.terms:
            if isinstance(x, Noted):
                _visit(x.source, order)
    order[id(source)] = source


def _size(source: NativeSource) -> tuple[int, int]:
    """Return the height and width of a state."""
    if isinstance(source.state, Tensor):
        return source.state.shape[2], source.state.shape[3]
    _, x = source.state.terms[0]
    if isinstance(x, Tensor):
        return x.shape[2], x.shape[3]
    height, width = _size(x.source)
    pool = x.candidate.pool
    if pool is not None:
        return (height - 1) // pool.stride + 1, (width - 1) // pool.stride + 1
    for block in x.candidate.blocks:
        height, width = block.out_size((height, width))
    return height, width
