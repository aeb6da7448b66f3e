"""The start of a stage: device, threads, and the switches that make a run repeatable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from darts_core.config import RuntimeConfig
from darts_core.runtime.allocator import keep_freed_memory
from darts_core.runtime.device import resolve


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a stage runs on. ``root`` is the project's folder (DVC's, where DVC started the stage)."""

    device: torch.device
    num_threads: int
    num_workers: int
    processes: int
    progress: str
    deterministic: bool
    root: Path

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last on the CPU, where it is about twice as fast; contiguous on a GPU, where MIOpen gains nothing from it."""
        return torch.channels_last if self.device.type == "cpu" else torch.contiguous_format


def start(cfg: RuntimeConfig, *, seed: int) -> Session:
    """Apply ``runtime.*`` to torch and return the session. TF32 is off: every device computes in float32, so that runs compare."""
    device = resolve(cfg.device)
    threads = cfg.num_threads or available_cores()
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # On ROCm benchmark means an exhaustive search, hours for one network on a card without a tuning database.
    torch.backends.cudnn.benchmark = device.type == "cuda" and not cfg.deterministic and torch.version.hip is None
    torch.backends.cudnn.deterministic = cfg.deterministic
    return Session(
        device=device,
        num_threads=threads,
        num_workers=cfg.num_workers,
        processes=cfg.processes,
        progress=cfg.progress,
        deterministic=cfg.deterministic,
        root=project_root(),
    )


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def project_root() -> Path:
    """Return the folder that holds ``dvc.yaml``: DVC_ROOT where DVC started the stage, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or ".")
