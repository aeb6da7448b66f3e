"""Peak memory of a stage and of its epochs: the resident set of this process, and torch's allocator on a GPU.

Linux keeps the resident peak itself (VmHWM) and lets a process set it back, so no peak is missed and nothing is sampled.
Elsewhere a thread looks 20 times a second, which misses shorter peaks. Worker processes are not counted.
The part for GPUs has not run on a GPU yet: it is tested with a fake one.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import psutil
import torch

MIB = 2**20
_STATUS = Path("/proc/self/status")
_CGROUP = Path("/sys/fs/cgroup")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_mib() -> float:
    """Return the resident set of this process now, in MiB."""
    return float(psutil.Process().memory_info().rss / MIB)


def free_mib(device: torch.device) -> float:
    """Return how much memory this process may still take on the device, in MiB.

    GPU: what the driver has, and what torch holds in its cache. CPU: what the machine has, within the limit of a container (cgroup v2).
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float((free + cached) / MIB)
    return min(float(psutil.virtual_memory().available / MIB), _container_mib())


def _container_mib() -> float:
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return max(0.0, (limit - used) / MIB)
    return float("inf")  # no such file, or "max"


def _reset_kernel_peak() -> bool:
    """Set the kernel's resident peak back to the present resident set; False where there is no such counter."""
    if _kernel_peak_mib() is None:
        return False
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")  # proc(5): 5 resets VmHWM and touches nothing else
    except OSError:
        return False
    return True


def _kernel_peak_mib() -> float | None:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


class _Sampler(threading.Thread):
    """The largest resident set seen at 20 Hz since the last ``take``."""

    def __init__(self) -> None:
        super().__init__(name="peak-memory", daemon=True)
        self._done = threading.Event()
        self._peak_mib = resident_mib()

    def run(self) -> None:
        while not self._done.wait(0.05):
            self._peak_mib = max(self._peak_mib, resident_mib())

    def take(self) -> float:
        now = resident_mib()
        peak, self._peak_mib = max(self._peak_mib, now), now
        return peak

    def stop(self) -> None:
        self._done.set()
        self.join()


class PeakMemory:
    """Records peaks while it is open: ``with PeakMemory(device) as memory``.

    ``lap()`` ends an epoch and returns its peaks; ``as_dict(prefix)`` returns the peaks of the whole, also after the end.
    Values are MiB; what this machine cannot tell is absent, never 0. The counters are the process's (resident set) and the
    device's (allocator), whoever resets them; so recorders may be nested, and each reads the counters before another resets them.
    """

    _open: ClassVar[list[PeakMemory]] = []

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sampler: _Sampler | None = None
        self._lap: dict[str, float] = {}
        self._whole: dict[str, float] = {}

    def __enter__(self) -> PeakMemory:
        if not self._reset_counters():
            self._sampler = _Sampler()
            self._sampler.start()
        self._open.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._read()
        self._open.remove(self)
        if self._sampler is not None:
            self._sampler.stop()

    @property
    def is_exact(self) -> bool:
        """Whether the resident peak is the kernel's own, not one of samples."""
        return self._sampler is None

    def lap(self) -> dict[str, float]:
        """Return the peaks since the start or the last lap (``rss_mib``, on a GPU ``vram_mib``, ``vram_reserved_mib``); begin the next."""
        self._reset_counters()
        peaks, self._lap = self._lap, {}
        return peaks

    def as_dict(self, prefix: str) -> dict[str, float]:
        """Return the peaks since the start as ``{prefix}_rss_mib``, on a GPU also ``{prefix}_vram_mib``, ``{prefix}_vram_reserved_mib``."""
        if self in self._open:
            self._read()
        return {f"{prefix}_{name}": value for name, value in self._whole.items()}

    def _reset_counters(self) -> bool:
        for recorder in self._open:
            recorder._read()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return _reset_kernel_peak()

    def _read(self) -> None:
        rss = self._sampler.take() if self._sampler is not None else _kernel_peak_mib()
        peaks = {} if rss is None else {"rss_mib": rss}
        if self._device.type == "cuda":
            peaks["vram_mib"] = torch.cuda.max_memory_allocated(self._device) / MIB
            peaks["vram_reserved_mib"] = torch.cuda.max_memory_reserved(self._device) / MIB
        for kept in (self._lap, self._whole):
            kept.update({name: max(value, kept.get(name, 0.0)) for name, value in peaks.items()})
