"""Where and how a supernet is computed: device, backend, memory mode."""

from __future__ import annotations

import logging

import torch

from darts_core.config import SearchConfig
from darts_core.runtime.memory import free_mib
from darts_core.search.method import Method
from darts_core.supernet.choice import choose_backend
from darts_core.supernet.footprint import estimate_peak_mib
from darts_core.supernet.supernet import Supernet

FREE_SHARE = 0.8  # of the free memory that a step may take where search.memory_budget_mib is null
LOG = logging.getLogger(__name__)


def check_computed(cfg: SearchConfig, kind: type[Supernet]) -> None:
    """Raise ``ValueError`` where supernets of this ``kind`` cannot be computed as ``search.backend`` and ``search.memory`` say."""
    *others, last = "auto", *kind.backends
    if cfg.backend not in (*others, last):
        raise ValueError(f"search.backend must be {', '.join(others)} or {last} with this space. Got {cfg.backend}.")
    if cfg.memory == "lean" and not kind.can_be_lean:
        raise ValueError("search.memory must be auto or normal with this space, whose cells are never computed again. Got lean.")


def place(
    supernet: Supernet,
    method: Method,
    cfg: SearchConfig,
    device: torch.device,
    batch_shape: tuple[int, ...],
    *,
    batches: int,
) -> dict[str, str]:
    """Move the supernet to ``device``, choose backend and memory mode by ``search.backend`` and ``search.memory``, and say which.

    ``batches`` are those of an epoch, each of ``batch_shape``: (B, C, H, W), or (B, T) of a text. Raise ``ValueError`` where the supernet
    cannot be computed as the keys say.
    """
    check_computed(cfg, type(supernet))
    number, (height, width) = batch_shape[0], batch_shape[-2:]
    operations = 0.0
    if cfg.backend == "auto" and device.type == "cpu" and "native" in supernet.backends:
        operations = float(method.arch_gradient.operations * supernet.count_macs(batch_shape) * batches * cfg.epochs)
    choice = choose_backend(supernet, cfg.backend, device, size=(height, width), batch=number, operations=operations)
    LOG.log(logging.WARNING if choice.fell_back else logging.INFO, "search: backend %s.", choice.why)
    supernet.use(choice.backend, device, is_lean=cfg.memory == "lean")
    if cfg.memory == "auto" and supernet.can_be_lean:
        graphs = method.arch_gradient.graphs
        needed = estimate_peak_mib(supernet, batch_shape, graphs=graphs)
        budget = cfg.memory_budget_mib or FREE_SHARE * free_mib(device)
        supernet.is_lean = needed > budget and graphs == 1
        mode = "lean" if supernet.is_lean else "normal"
        LOG.log(
            logging.WARNING if needed > budget and graphs > 1 else logging.INFO,
            "search: memory %s (a step would take about %.0f MiB in mode normal, %.0f MiB are allowed).",
            mode,
            needed,
            budget,
        )
    return {"backend": choice.backend.name, "memory": "lean" if supernet.is_lean else "normal"}


def advice(supernet: Supernet, method: Method) -> str:
    """Return what to change where a step does not fit."""
    if not supernet.can_be_lean:
        return "Lower search.batch_size, space.bptt or space.hidden."
    can_be_lean = not supernet.is_lean and method.arch_gradient.graphs == 1
    return f"{'Set search.memory: lean, or lower' if can_be_lean else 'Lower'} search.batch_size or space.init_channels."
