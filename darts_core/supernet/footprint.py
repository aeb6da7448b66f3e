"""How much memory a search step will take, from two small forward passes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from darts_core.supernet.supernet import Supernet

MIB = 2**20
PEAK_OVER_SAVED = 1.3  # measured 1.16 to 1.25: gradients in flight and a workspace come on top of what is saved
_BATCHES = (2, 4)


def estimate_peak_mib(supernet: Supernet, batch_shape: tuple[int, int, int, int]) -> float:
    """Return about how many MiB a forward and backward pass of ``supernet`` needs for a batch (B, C, H, W), weights left out.

    What autograd saves grows linearly with the batch; two small batches tell the line. ``supernet``'s buffers are left alone.
    """
    trial = copy.deepcopy(supernet).train()
    small, large = (_saved_bytes(trial, (batch, *batch_shape[1:])) for batch in _BATCHES)
    slope = (large - small) / (_BATCHES[1] - _BATCHES[0])
    return PEAK_OVER_SAVED * (small + slope * (batch_shape[0] - _BATCHES[0])) / MIB


def _saved_bytes(supernet: Supernet, shape: tuple[int, ...]) -> int:
    """Return the bytes of the distinct storages that a forward pass keeps for the backward one, beside the parameters."""
    weight = next(supernet.parameters())
    own = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    x = weight.new_zeros(shape).to(memory_format=supernet.backend.memory_format(weight.device))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        out = supernet(x)
    del out
    return sum(kept.values())
