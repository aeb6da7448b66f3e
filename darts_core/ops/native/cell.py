"""A cell by the kernels: what it consists of, its forward and its backward pass. Maps are (B, C, H, W) in memory as channels last."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, c_int64, c_void_p
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from darts_core.ops.native.block import Block, is_alike
from darts_core.ops.native.library import (
    BlockArguments,
    CellArguments,
    PoolArguments,
    StateArguments,
    TermArguments,
    array,
    run,
)

_BLOCKS, _POOL, _STATE, _MAP = range(4)
_NO_BUFFERS = (0, 0, 0, 0.0)  # and no momentum


@dataclass(frozen=True)
class BlocksTerm:
    """One block, or two in a row, on a state."""

    state: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PoolTerm:
    """A pooled state after a BatchNorm of this term's own."""

    pool: int
    bn: nn.BatchNorm2d


@dataclass(frozen=True)
class StateTerm:
    """A state as it is."""

    state: int


@dataclass(frozen=True)
class MapTerm:
    """A map that was computed elsewhere."""

    map: int


CellTerm = BlocksTerm | PoolTerm | StateTerm | MapTerm


@dataclass(frozen=True)
class Pool:
    """A state's 3x3 maximum or mean, padding 1; ``eps`` is that of the BatchNorms after it."""

    state: int
    is_max: bool
    stride: int
    eps: float


@dataclass(frozen=True)
class Kept:
    """What the backward pass needs of the forward one.

    ``maps``: one a node, a block and a pool, (M, B, H, W, C); ``moments`` of the blocks' and the pools', (blocks + pools, 2, C) float64.
    """

    maps: Tensor
    moments: Tensor


@dataclass(frozen=True, kw_only=True)
class Cell:
    """States are numbered: ``leaves`` that are given, then a node each of ``nodes``, whose terms read states before it.

    All nodes and pools have the size (H, W). The output joins the channels of the states ``outputs``, after ReLU where ``rectifies``.
    """

    leaves: int
    maps: int
    nodes: Sequence[Sequence[CellTerm]]
    pools: Sequence[Pool]
    outputs: Sequence[int]
    rectifies: bool
    size: tuple[int, int]
    is_training: bool

    @property
    def blocks(self) -> list[Block]:
        """All blocks, term by term."""
        return [block for terms in self.nodes for term in terms if isinstance(term, BlocksTerm) for block in term.blocks]

    def forward(
        self, weights: Sequence[float], leaves: Sequence[Tensor], maps: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor, Kept]:
        """Return the output, (B, len(outputs) * C, H, W), and what is kept; ``weights`` are those of the terms, node after node.

        ``parameters`` are the weights of the blocks by twos. The buffers of BatchNorm move as in a forward pass of torch.
        Raises ValueError for maps of a single value a channel in training.
        """
        batch, channels, *_ = leaves[0].shape
        if self.is_training and batch * self.size[0] * self.size[1] == 1:
            raise ValueError(f"BatchNorm needs more than one value a channel in training. Got maps of {(batch, channels, *self.size)}.")
        like = leaves[0]
        if any(x.shape[:2] != like.shape[:2] or not is_alike([x], like) for x in leaves) or any(
            x.shape != (batch, channels, *self.size) or not is_alike([x], like) for x in maps
        ):
            found = ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in (*leaves, *maps))
            raise ValueError(f"A cell's maps are of one batch, width and precision, and (H, W) is {self.size}. Got {found}.")
        out = torch.empty_like(
            like[:, :1, :1, :1].expand(batch, len(self.outputs) * channels, *self.size), memory_format=torch.channels_last
        )
        count = len(self.blocks) + len(self.pools)
        kept = Kept(
            maps=like.new_empty((len(self.nodes) + count, batch, *self.size, channels)),
            moments=like.new_empty((count, 2, channels), dtype=torch.float64),
        )
        if not out.is_meta:
            _Call(cell=self, weights=weights, leaves=leaves, maps=maps, parameters=parameters, kept=kept, out=out).run("cell_forward")
        return out, kept

    def backward(
        self,
        grad: Tensor,
        weights: Sequence[float],
        leaves: Sequence[Tensor],
        maps: Sequence[Tensor],
        parameters: Sequence[Tensor],
        kept: Kept,
        *,
        wants: tuple[Sequence[bool], Sequence[bool], Sequence[bool]],
    ) -> tuple[Tensor, list[Tensor | None], list[Tensor | None], list[Tensor | None]]:
        """Return the gradients of the weights, (terms,) float64, and of leaves, maps and parameters where ``wants`` says so, else None."""
        wants_leaves, wants_maps, wants_parameters = wants
        grad_leaves = [torch.empty_like(x) if wanted else None for x, wanted in zip(leaves, wants_leaves)]
        grad_maps = [torch.empty_like(x) if wanted else None for x, wanted in zip(maps, wants_maps)]
        twos = [any(wants_parameters[i : i + 2]) for i in range(0, len(parameters), 2)]
        sizes = [p.numel() if twos[i // 2] else 0 for i, p in enumerate(parameters)]
        pieces = grad.new_empty(sum(sizes)).split(sizes) if parameters else ()
        grad_parameters = [piece.view(p.shape) if twos[i // 2] else None for i, (p, piece) in enumerate(zip(parameters, pieces))]
        nodes = kept.maps.new_empty((len(self.nodes), *kept.maps.shape[1:]))
        call = _Call(
            cell=self,
            weights=weights,
            leaves=leaves,
            maps=maps,
            parameters=parameters,
            kept=kept,
            grad=grad,
            grad_states=[*grad_leaves, *nodes],
            grad_maps=grad_maps,
            grad_parameters=grad_parameters,
        )
        return call.run("cell_backward"), grad_leaves, grad_maps, grad_parameters


@dataclass(kw_only=True)
class _Call:
    """A cell with all its tensors, as arguments of C. What points to nothing is null there."""

    cell: Cell
    weights: Sequence[float]
    leaves: Sequence[Tensor]
    maps: Sequence[Tensor]
    parameters: Sequence[Tensor]
    kept: Kept
    out: Tensor | None = None
    grad: Tensor | None = None
    grad_states: Sequence[Tensor | None] = ()
    grad_maps: Sequence[Tensor | None] = ()
    grad_parameters: Sequence[Tensor | None] = ()

    def __post_init__(self) -> None:
        self.parameters = [p if p.is_contiguous() else p.detach().contiguous() for p in self.parameters]
        self._sizes = [*((x.shape[2], x.shape[3]) for x in self.leaves), *[self.cell.size] * len(self.cell.nodes)]
        self._threads = torch.get_num_threads()
        self._channels = self.leaves[0].shape[1]
        self._first_map, self._first_moments = self.kept.maps.data_ptr(), self.kept.moments.data_ptr()
        self._map_bytes = self.kept.maps.stride(0) * self.kept.maps.element_size()
        self._moments_bytes = self.kept.moments.stride(0) * self.kept.moments.element_size()
        if not is_alike(self.parameters, self.kept.maps):
            found = ", ".join(sorted({f"{p.dtype} on {p.device}" for p in self.parameters}))
            raise ValueError(f"Weights have the precision of their maps, {self.kept.maps.dtype}, and are on the CPU. Got {found}.")

    def run(self, name: str) -> Tensor:
        """Call ``name``; return the gradients of the weights, (terms,) float64, which the backward pass fills in."""
        grad_weights = torch.empty(len(self.weights), dtype=torch.float64, device=self.kept.maps.device)
        cell = self.cell
        terms, blocks, count = self._terms()
        pools: list[Any] = []
        for number, pool in enumerate(cell.pools, start=count):
            pools += (pool.state, pool.is_max, pool.stride, pool.eps, self._map(len(cell.nodes) + number), self._moments(number))
        arguments = CellArguments(
            self.leaves[0].shape[0],
            self._channels,
            self._threads,
            int(cell.is_training),
            cell.leaves,
            len(cell.nodes),
            len(cell.outputs),
            int(cell.rectifies),
            array(StateArguments, self._states()),
            _list(c_int64, [len(terms) for terms in cell.nodes]),
            array(TermArguments, terms),
            array(BlockArguments, blocks),
            len(cell.pools),
            array(PoolArguments, pools),
            _list(c_void_p, [x.data_ptr() for x in self.maps]),
            _list(c_void_p, [pointer(g) for g in self.grad_maps]),
            pointer(self.out),
            pointer(self.grad),
            grad_weights.data_ptr(),
        )
        run(name, self.kept.maps.dtype, arguments)
        return grad_weights

    def _map(self, number: int) -> int:
        return self._first_map + number * self._map_bytes

    def _moments(self, number: int) -> int:
        return self._first_moments + number * self._moments_bytes

    def _states(self) -> list[int]:
        places = {state: place for place, state in enumerate(self.cell.outputs)}
        xs = [*(x.data_ptr() for x in self.leaves), *(self._map(i) for i in range(len(self.cell.nodes)))]
        grads = self.grad_states or [None] * len(xs)
        values: list[int] = []
        for state, (x, size, grad) in enumerate(zip(xs, self._sizes, grads)):
            values += (x, *size, places.get(state, -1), pointer(grad))
        return values

    def _terms(self) -> tuple[list[Any], list[Any], int]:
        """Return the values of all terms' fields, those of all blocks', and how many blocks there are."""
        terms: list[Any] = []
        blocks: list[Any] = []
        count = 0
        for weight, term in zip(self.weights, chain.from_iterable(self.cell.nodes)):
            if isinstance(term, BlocksTerm):
                terms += (_BLOCKS, count, len(term.blocks), term.state, weight, *_NO_BUFFERS)
                size = self._sizes[term.state]
                for block in term.blocks:
                    blocks += self._block(block, count, size)
                    size = self.cell.size
                    count += 1
            elif isinstance(term, PoolTerm):
                terms += (_POOL, term.pool, 0, 0, weight, *self._buffers(term.bn), term.bn.momentum)
            else:
                kind, number = (_STATE, term.state) if isinstance(term, StateTerm) else (_MAP, term.map)
                terms += (kind, number, 0, 0, weight, *_NO_BUFFERS)
        return terms, blocks, count

    def _block(self, block: Block, number: int, size: tuple[int, int]) -> tuple[Any, ...]:
        *shape, out_height, out_width = block.geometry(size)
        if (out_height, out_width) != self.cell.size:
            raise ValueError(f"All terms of a cell's nodes have one size. Expected {self.cell.size}, got another from {block.depthwise}.")
        channels, (depthwise, pointwise) = self._channels, self.parameters[2 * number : 2 * number + 2]
        if depthwise.numel() != channels * shape[0] ** 2 or pointwise.numel() != channels**2:
            raise ValueError(f"Weights fit {channels} channels. Got {tuple(depthwise.shape)} and {tuple(pointwise.shape)}.")
        bn, grads = block.bn, self.grad_parameters[2 * number : 2 * number + 2] or (None, None)
        return (
            *(self.leaves[0].shape[0], channels, *size, *shape, out_height, out_width, self._threads),
            *(depthwise.data_ptr(), pointwise.data_ptr()),
            *self._buffers(bn),
            *(bn.eps, bn.momentum, bn.training),
            *(self._map(len(self.cell.nodes) + number), self._moments(number)),
            *(pointer(grads[0]), pointer(grads[1])),
        )

    def _buffers(self, bn: nn.BatchNorm2d) -> tuple[int, int, int]:
        mean, variance, tracked = bn.running_mean, bn.running_var, bn.num_batches_tracked
        if mean is None or variance is None:
            raise ValueError(f"{bn} has buffers as long as its supernet is trained. Got none.")
        if not mean.dtype == variance.dtype == self.kept.maps.dtype or not mean.numel() == variance.numel() == self._channels:
            found = f"{tuple(mean.shape)} {mean.dtype} and {tuple(variance.shape)} {variance.dtype}"
            raise ValueError(f"Buffers fit their maps, {self._channels} channels of {self.kept.maps.dtype}. Got {found}.")
        return mean.data_ptr(), variance.data_ptr(), pointer(tracked)


def pointer(x: Tensor | None) -> int:
    """Return where a tensor's first number lies; the null pointer for none."""
    return 0 if x is None else x.data_ptr()


def _list(kind: type, values: Sequence[int]) -> Array[Any]:
    return (kind * len(values))(*values)  # type: ignore[operator]
