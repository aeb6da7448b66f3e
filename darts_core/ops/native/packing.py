"""A cell's arguments as C reads them. Most fields are the same in every call: they are laid out once, and the others filled in."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ctypes import Array, Structure
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from darts_core.ops.native.block import Block
from darts_core.ops.native.library import BlockArguments, PoolArguments, StateArguments, TermArguments, fields_of
from darts_core.ops.native.terms import BlocksTerm, CellTerm, MapTerm, Pool, PoolTerm, StateTerm

_BLOCKS, _POOL, _STATE, _MAP = range(4)


class Packing:
    """Of a cell: its nodes, each a sum of terms, its pools, and the states that its output joins.

    ``size`` is that of its nodes, (H, W), and ``sizes`` those of the states that are given; all maps are (batch, channels, H, W).
    """

    def __init__(
        self,
        nodes: Sequence[Sequence[CellTerm]],
        pools: Sequence[Pool],
        outputs: Sequence[int],
        *,
        size: tuple[int, int],
        sizes: Sequence[tuple[int, int]],
        batch: int,
        channels: int,
        threads: int,
    ) -> None:
        self._states, self._terms = _Table(StateArguments), _Table(TermArguments)
        self._blocks, self._pools = _Table(BlockArguments), _Table(PoolArguments)
        self._of_blocks, self._of_terms = _BatchNorms(channels), _BatchNorms(channels)
        self._channels = channels
        self._taps: list[int] = []
        all_sizes = [*sizes, *[size] * len(nodes)]
        places = {state: place for place, state in enumerate(outputs)}
        for state, (height, width) in enumerate(all_sizes):
            self._states.add(height=height, width=width, place=places.get(state, -1))
        for term in chain.from_iterable(nodes):
            self._of_terms.add(term.bn if isinstance(term, PoolTerm) else None)
            if not isinstance(term, BlocksTerm):
                self._terms.add(**_reading(term))
                continue
            self._terms.add(kind=_BLOCKS, number=len(self._blocks), count=len(term.blocks), state=term.state)
            own = all_sizes[term.state]
            for block in term.blocks:
                self._blocks.add(**_geometry(block, own, size), batch=batch, channels=channels, threads=threads)
                self._of_blocks.add(block.bn)
                self._taps.append(channels * block.depthwise.kernel_size[0] ** 2)
                own = size
        for pool in pools:
            self._pools.add(state=pool.state, is_max=pool.is_max, stride=pool.stride, eps=pool.eps)

    def states(self, x: Sequence[int], grad: Sequence[int]) -> Array[Any]:
        """Return the states, from where each and its gradient, if any, lie."""
        return self._states.filled(x=x, grad=grad)

    def terms(self, weights: Sequence[float], *, dtype: torch.dtype) -> Array[Any]:
        """Return the terms, from their weights. Maps are of ``dtype``."""
        modes = [bn is not None and bn.training for bn in self._of_terms.all]
        return self._terms.filled(weight=weights, is_training=modes, **self._of_terms.columns(dtype))

    def blocks(
        self, weights: Sequence[Tensor], grads: Sequence[int], maps: Sequence[int], moments: Sequence[int], *, dtype: torch.dtype
    ) -> Array[Any]:
        """Return the blocks, from their weights by twos, where the gradients of these lie, if any, and what is kept."""
        depthwise, pointwise = weights[::2], weights[1::2]
        if [p.numel() for p in depthwise] != self._taps or any(p.numel() != self._channels**2 for p in pointwise):
            found = ", ".join(str(tuple(p.shape)) for p in weights)
            raise ValueError(f"Weights fit {self._channels} channels. Got {found}.")
        bns = [bn for bn in self._of_blocks.all if bn is not None]
        return self._blocks.filled(
            depthwise=[p.data_ptr() for p in depthwise],
            pointwise=[p.data_ptr() for p in pointwise],
            **self._of_blocks.columns(dtype),
            eps=[bn.eps for bn in bns],
            is_training=[bn.training for bn in bns],
            y=maps,
            moments=moments,
            grad_depthwise=grads[::2],
            grad_pointwise=grads[1::2],
        )

    def pools(self, maps: Sequence[int], moments: Sequence[int]) -> Array[Any]:
        """Return the pools, from where what is kept of them lies."""
        return self._pools.filled(raw=maps, moments=moments)


class _Table:
    """An array of structures: what stays is added element by element, the rest filled in by columns. What is neither is zero, or null."""

    def __init__(self, kind: type[Structure]) -> None:
        self._kind = kind
        fields = fields_of(kind)
        self._places = {name: place for place, (name, _) in enumerate(fields)}
        self._letters = "".join(letter for _, letter in fields)
        self._values: list[Any] = []
        self._struct = struct.Struct("")

    def __len__(self) -> int:
        return len(self._values) // len(self._letters)

    def add(self, **values: float) -> None:
        """Add an element."""
        row: list[Any] = [0] * len(self._letters)
        for name, value in values.items():
            row[self._places[name]] = value
        self._values += row
        self._struct = struct.Struct(self._letters * len(self))

    def filled(self, **columns: Sequence[Any]) -> Array[Any]:
        """Return the array with these columns; one that is empty stays zero."""
        values = self._values.copy()
        for name, column in columns.items():
            if column:
                values[self._places[name] :: len(self._letters)] = column
        return (self._kind * len(self)).from_buffer_copy(self._struct.pack(*values))


class _BatchNorms:
    """BatchNorms of ``channels`` channels, and where their buffers lie; None has none."""

    def __init__(self, channels: int) -> None:
        self.all: list[nn.BatchNorm2d | None] = []
        self._channels = channels
        self._checked: list[tuple[Tensor | None, Tensor | None, torch.dtype | None]] = []

    def add(self, bn: nn.BatchNorm2d | None) -> None:
        """Add one."""
        self.all.append(bn)
        self._checked.append((None, None, None))

    def columns(self, dtype: torch.dtype) -> dict[str, list[Any]]:
        """Return what C asks of each. Raises ValueError for buffers that do not fit their maps, of ``dtype``."""
        means, variances, counts, momenta = [0] * len(self.all), [0] * len(self.all), [0] * len(self.all), [0.0] * len(self.all)
        for number, bn in enumerate(self.all):
            if bn is None:
                continue
            buffers = bn._buffers
            mean, variance, tracked = buffers["running_mean"], buffers["running_var"], buffers["num_batches_tracked"]
            was_mean, was_variance, was_dtype = self._checked[number]
            if mean is None or variance is None or mean is not was_mean or variance is not was_variance or dtype is not was_dtype:
                mean, variance = self._check(bn, dtype)
                self._checked[number] = mean, variance, dtype
            means[number], variances[number] = mean.data_ptr(), variance.data_ptr()
            counts[number] = 0 if tracked is None else tracked.data_ptr()
            momenta[number] = bn.momentum or 0.0  # None, a plain mean, has no kernel
        return {"running_mean": means, "running_var": variances, "tracked": counts, "momentum": momenta}

    def _check(self, bn: nn.BatchNorm2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        mean, variance = bn.running_mean, bn.running_var
        if mean is None or variance is None:
            raise ValueError(f"{bn} has buffers as long as its supernet is trained. Got none.")
        if not mean.dtype == variance.dtype == dtype or not mean.numel() == variance.numel() == self._channels:
            found = f"{tuple(mean.shape)} {mean.dtype} and {tuple(variance.shape)} {variance.dtype}"
            raise ValueError(f"Buffers fit their maps, {self._channels} channels of {dtype}. Got {found}.")
        return mean, variance


def _reading(term: CellTerm) -> dict[str, int]:
    """Return the fields of a term without blocks."""
    if isinstance(term, PoolTerm):
        return {"kind": _POOL, "number": term.pool}
    if isinstance(term, StateTerm):
        return {"kind": _STATE, "number": term.state}
    assert isinstance(term, MapTerm)
    return {"kind": _MAP, "number": term.map}


def _geometry(block: Block, size: tuple[int, int], out: tuple[int, int]) -> dict[str, int]:
    """Return a block's fields for an input of ``size`` and an output of ``out``, (H, W)."""
    kernel, stride, padding, dilation, *own = block.geometry(size)
    if (own[0], own[1]) != out:
        raise ValueError(f"All terms of a cell's nodes have one size. Expected {out}, got another from {block.depthwise}.")
    shape = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {"height": size[0], "width": size[1], **shape, "out_height": out[0], "out_width": out[1]}
