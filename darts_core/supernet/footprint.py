"""How much memory a search step will take, from a forward pass without numbers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from darts_core.supernet.supernet import Supernet

MIB = 2**20
PEAK_OVER_SAVED = 1.3  # gradients in flight and a workspace come on top of what is saved; measured ratios are in docs/LOG.md


def estimate_peak_mib(supernet: Supernet, batch_shape: tuple[int, ...], *, graphs: int = 1) -> float:
    """Return about how many MiB a step of ``supernet`` needs for a batch (B, C, H, W) in memory mode normal, weights left out.

    ``graphs`` is how many forward passes the step keeps at once. Nothing is computed: the pass runs on torch's meta device.
    """
    trial = copy.deepcopy(supernet).train()
    trial.is_lean = False
    trial.to("meta")
    x = next(trial.parameters()).new_empty(batch_shape).to(memory_format=supernet.backend.memory_format(torch.device("meta")))
    own = {p.untyped_storage()._cdata for p in trial.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []  # so that no storage is freed and its address used again

    def keep(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
            held.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        trial(x)
    return PEAK_OVER_SAVED * graphs * sum(kept.values()) / MIB
