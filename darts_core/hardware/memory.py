"""Memory of one inference at one batch size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.runtime.allocator import return_freed_memory
from darts_core.runtime.device import synchronize
from darts_core.runtime.memory import MIB, PeakMemory, resident_mib


@dataclass(frozen=True, kw_only=True)
class ForwardMemory:
    """Peaks in MiB; None where this machine cannot tell.

    ``peak_memory_mib``: weights and buffers, plus what the inference adds at its peak (the input is not counted).
    ``reserved_memory_mib``: what torch's allocator holds on the GPU then, for everything in the process.
    """

    peak_memory_mib: float | None
    reserved_memory_mib: float | None


def forward_memory(model: nn.Module, x_BCHW: Tensor) -> ForwardMemory:
    """Measure the second of two inferences: the first one loads code and sets up libraries, once in a process.

    GPU: growth of torch's allocated bytes, exact for tensors and workspaces; context and code are outside. Not run on a GPU yet.
    CPU: growth of the resident set, from the kernel's own peak counter, after the C library has returned its free memory (else the
    inference would reuse it and seem to need none). It counts pages, scratch space and the allocator's waste: what the machine must
    have, not the sum of the tensors; repeated it varies by some 10 %, more below 1 MiB. None where the system has no such counter.
    """
    model(x_BCHW)
    synchronize(x_BCHW.device)
    own = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())) / MIB
    on_gpu = x_BCHW.device.type == "cuda"
    with PeakMemory(x_BCHW.device) as memory:
        if not on_gpu:
            if not memory.is_exact:
                return ForwardMemory(peak_memory_mib=None, reserved_memory_mib=None)
            return_freed_memory()
        memory.lap()
        before = torch.cuda.memory_allocated(x_BCHW.device) / MIB if on_gpu else resident_mib()
        model(x_BCHW)
        synchronize(x_BCHW.device)
        peaks = memory.lap()
    growth = peaks["vram_mib" if on_gpu else "rss_mib"] - before
    return ForwardMemory(peak_memory_mib=own + max(0.0, growth), reserved_memory_mib=peaks.get("vram_reserved_mib"))
