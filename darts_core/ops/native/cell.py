"""A cell by the kernels: what it consists of, its forward and its backward pass. Maps are (B, C, H, W) in memory as channels last."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, c_int64, c_void_p
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from darts_core.ops.native.block import Block, is_alike
from darts_core.ops.native.library import CellArguments, run
from darts_core.ops.native.packing import Packing
from darts_core.ops.native.terms import BlocksTerm, CellTerm, Pool
from darts_core.runtime.workspace import Workspace


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
    _packings: dict[Any, Packing] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks, term by term."""
        return [block for terms in self.nodes for term in terms if isinstance(term, BlocksTerm) for block in term.blocks]

    def packing(self, leaves: Sequence[Tensor]) -> Packing:
        """Return this cell's arguments as C reads them, for given states of these shapes."""
        batch, channels, *_ = leaves[0].shape
        sizes = tuple((x.shape[2], x.shape[3]) for x in leaves)
        threads = torch.get_num_threads()
        key = (batch, channels, sizes, threads)
        if key not in self._packings:
            self._packings[key] = Packing(
                self.nodes, self.pools, self.outputs, size=self.size, sizes=sizes, batch=batch, channels=channels, threads=threads
            )
        return self._packings[key]

    def forward(
        self,
        weights: Sequence[float],
        leaves: Sequence[Tensor],
        maps: Sequence[Tensor],
        parameters: Sequence[Tensor],
        *,
        workspace: Workspace | None = None,
    ) -> tuple[Tensor, Kept]:
        """Return the output, (B, len(outputs) * C, H, W), and what is kept; ``weights`` are those of the terms, node after node.

        ``parameters`` are the weights of the blocks by twos. The buffers of BatchNorm move as in a forward pass of torch.
        Of what is kept, the maps lie in ``workspace``, if one is given and free.
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
        shape = (len(self.nodes) + count, batch, *self.size, channels)
        kept = Kept(
            maps=like.new_empty(shape) if workspace is None else workspace.new_empty(like, shape),
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

    def run(self, name: str) -> Tensor:
        """Call ``name``; return the gradients of the weights, (terms,) float64, which the backward pass fills in."""
        cell, kept = self.cell, self.kept
        held = [p if p.is_contiguous() else p.detach().contiguous() for p in self.parameters]
        if not is_alike(held, kept.maps):
            found = ", ".join(sorted({f"{p.dtype} on {p.device}" for p in held}))
            raise ValueError(f"Weights have the precision of their maps, {kept.maps.dtype}, and are on the CPU. Got {found}.")
        packed = cell.packing(self.leaves)
        batch, channels, *_ = self.leaves[0].shape
        first_moments, moments_bytes = kept.moments.data_ptr(), kept.moments.stride(0) * kept.moments.element_size()
        first_map, map_bytes = kept.maps.data_ptr(), kept.maps.stride(0) * kept.maps.element_size()
        maps = range(first_map, first_map + map_bytes * len(kept.maps), map_bytes)
        moments = range(first_moments, first_moments + moments_bytes * len(kept.moments), moments_bytes)
        nodes, end = len(cell.nodes), len(cell.nodes) + len(cell.blocks)
        grad_weights = torch.empty(len(self.weights), dtype=torch.float64, device=kept.maps.device)
        arguments = CellArguments(
            *(batch, channels, torch.get_num_threads(), cell.leaves, nodes, len(cell.outputs), int(cell.rectifies)),
            packed.states([*(x.data_ptr() for x in self.leaves), *maps[:nodes]], [pointer(x) for x in self.grad_states]),
            _list(c_int64, [len(terms) for terms in cell.nodes]),
            packed.terms(self.weights, dtype=kept.maps.dtype),
            packed.blocks(held, [pointer(g) for g in self.grad_parameters], maps[nodes:end], moments[: end - nodes], dtype=kept.maps.dtype),
            len(cell.pools),
            packed.pools(maps[end:], moments[end - nodes :]),
            _list(c_void_p, [x.data_ptr() for x in self.maps]),
            _list(c_void_p, [pointer(g) for g in self.grad_maps]),
            *(pointer(self.out), pointer(self.grad), grad_weights.data_ptr()),
        )
        run(name, kept.maps.dtype, arguments)
        return grad_weights


def pointer(x: Tensor | None) -> int:
    """Return where a tensor's first number lies; the null pointer for none."""
    return 0 if x is None else x.data_ptr()


def _list(kind: type, values: Sequence[int]) -> Array[Any]:
    return (kind * len(values))(*values)  # type: ignore[operator]
