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
    Geometry,
    PoolArguments,
    StateArguments,
    TermArguments,
    run,
)

_BLOCKS, _POOL, _STATE, _MAP = range(4)


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
            self._run("cell_forward", weights, leaves, maps, parameters, kept, out=out)
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
        grad_weights = self._run(
            "cell_backward",
            weights,
            leaves,
            maps,
            parameters,
            kept,
            grad=grad,
            grad_states=[*grad_leaves, *nodes],
            grad_maps=grad_maps,
            grad_parameters=grad_parameters,
        )
        return grad_weights, grad_leaves, grad_maps, grad_parameters

    def _run(
        self,
        name: str,
        weights: Sequence[float],
        leaves: Sequence[Tensor],
        maps: Sequence[Tensor],
        parameters: Sequence[Tensor],
        kept: Kept,
        *,
        out: Tensor | None = None,
        grad: Tensor | None = None,
        grad_states: Sequence[Tensor | None] = (),
        grad_maps: Sequence[Tensor | None] = (),
        grad_parameters: Sequence[Tensor | None] = (),
    ) -> Tensor:
        held = [p.detach().contiguous() for p in parameters]
        grad_weights = torch.empty(len(weights), dtype=torch.float64, device=kept.maps.device)
        batch, channels, *_ = leaves[0].shape
        step = kept.maps[0].numel() * kept.maps.element_size()
        moment_step = 2 * channels * kept.moments.element_size()
        first_map, first_moment = kept.maps.data_ptr(), kept.moments.data_ptr()
        threads = torch.get_num_threads()
        sizes = [*((x.shape[2], x.shape[3]) for x in leaves), *[self.size] * len(self.nodes)]
        places = {state: place for place, state in enumerate(self.outputs)}
        xs = [*(x.data_ptr() for x in leaves), *(first_map + i * step for i in range(len(self.nodes)))]
        grads = grad_states or [None] * len(xs)
        states = [StateArguments(x, *size, places.get(i, -1), pointer(g)) for i, (x, size, g) in enumerate(zip(xs, sizes, grads))]
        blocks: list[BlockArguments] = []
        terms: list[TermArguments] = []
        for weight, term in zip(weights, chain.from_iterable(self.nodes)):
            if isinstance(term, BlocksTerm):
                terms.append(TermArguments(_BLOCKS, len(blocks), len(term.blocks), term.state, weight))
                size = sizes[term.state]
                for block in term.blocks:
                    k, after = len(blocks), block.out_size(size)
                    conv, bn = block.depthwise, block.bn
                    blocks.append(
                        BlockArguments(
                            Geometry(
                                batch,
                                channels,
                                *size,
                                conv.kernel_size[0],
                                conv.stride[0],
                                int(conv.padding[0]),
                                conv.dilation[0],
                                *after,
                                threads,
                            ),
                            held[2 * k].data_ptr(),
                            held[2 * k + 1].data_ptr(),
                            *(pointer(buffer) for buffer in (bn.running_mean, bn.running_var, bn.num_batches_tracked)),
                            bn.eps,
                            bn.momentum,
                            int(bn.training),
                            first_map + (len(self.nodes) + k) * step,
                            first_moment + k * moment_step,
                            *(pointer(grad_parameters[i]) if grad_parameters else None for i in (2 * k, 2 * k + 1)),
                        )
                    )
                    size = after
                    if size != self.size:
                        raise ValueError(f"All terms of a cell's nodes have one size. Expected {self.size}, got {size} from {conv}.")
            elif isinstance(term, PoolTerm):
                bn = term.bn
                buffers = (pointer(buffer) for buffer in (bn.running_mean, bn.running_var, bn.num_batches_tracked))
                terms.append(TermArguments(_POOL, term.pool, 0, 0, weight, *buffers, bn.momentum))
            else:
                kind, number = (_STATE, term.state) if isinstance(term, StateTerm) else (_MAP, term.map)
                terms.append(TermArguments(kind, number, 0, 0, weight))
        first_pool = len(self.nodes) + len(blocks)
        pools = [
            PoolArguments(
                pool.state,
                pool.is_max,
                pool.stride,
                pool.eps,
                first_map + (first_pool + i) * step,
                first_moment + (len(blocks) + i) * moment_step,
            )
            for i, pool in enumerate(self.pools)
        ]
        run(
            name,
            kept.maps.dtype,
            CellArguments(
                batch,
                channels,
                threads,
                int(self.is_training),
                self.leaves,
                len(self.nodes),
                len(self.outputs),
                int(self.rectifies),
                _array(StateArguments, states),
                _array(c_int64, [len(terms) for terms in self.nodes]),
                _array(TermArguments, terms),
                _array(BlockArguments, blocks),
                len(pools),
                _array(PoolArguments, pools),
                _array(c_void_p, [x.data_ptr() for x in maps]),
                _array(c_void_p, [pointer(g) for g in grad_maps]),
                pointer(out),
                pointer(grad),
                grad_weights.data_ptr(),
            ),
        )
        return grad_weights


def pointer(x: Tensor | None) -> int | None:
    """Return where a tensor's first number lies; None for none."""
    return None if x is None else x.data_ptr()


def _array(kind: type, values: Sequence[Any]) -> Array[Any]:
    return (kind * len(values))(*values)  # type: ignore[operator]
