"""What to do where the machine has had enough: memory or disk is full, or a file cannot be read or written; or BatchNorm too little."""

from __future__ import annotations

import errno

import torch

_LOWER = {
    "prepare_data": "data.image_size, data.memory_budget_mib or runtime.num_workers",
    "search": "search.batch_size, space.init_channels or space.hidden, or data.memory_budget_mib, or set search.memory: lean",
    "derive_genotype": "the memory that other programs take",
    "retrain": "retrain.batch_size, retrain.init_channels or retrain.hidden, data.memory_budget_mib or runtime.processes",
    "evaluate": "evaluate.batch_size or data.memory_budget_mib",
    "benchmark_hw": "benchmark_hw.batch_sizes",
}
_ONE_VALUE = ("Expected more than 1 value per channel", "BatchNorm needs more than one value a channel")  # as torch and the kernels say it
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def remedy(stage: str, error: Exception) -> str | None:
    """Return a line that says what is full or at fault and what to lower, raise or free; None where ``error`` is of another kind."""
    if _is_memory(error):
        reason = str(error).strip().partition("\n")[0] or "an allocation failed"
        return f"The memory is full ({reason}). Lower {_LOWER[stage]}."
    if isinstance(error, ValueError) and str(error).startswith(_ONE_VALUE):
        key = f"{stage}.batch_size" if stage in ("search", "retrain") else "the batch size"
        own = str(error).rstrip(".")
        return f"BatchNorm cannot be trained on maps of one pixel of one image. Raise {key}, or take larger images. ({own}.)"
    if not isinstance(error, OSError):
        return None
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _NO_SPACE:
        return f"The disk is full{where}. Free some space and run the command again: finished epochs are kept."
    return f"A file cannot be read or written{where}: {error.strerror or error}. Check that it is there, and that you may use it."


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)  # torch has no class for it on the CPU
