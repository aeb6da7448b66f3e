"""Latency protocol 1: how one inference is timed, how a network is warmed up, and how long it is measured.

- Wall clock: from a device at rest until it is at rest again. On a GPU a pair of events gives the device's own time beside it.
- Warm-up: at least 10 inferences and 1 s, and until the medians of the last two windows of 10 differ by less than 2 %. At the cap the
  network is measured as it is and marked unstable.
- Measuring: rounds of blocks, so that networks can take turns (``benchmark.py``). A block lasts ``block_s``, longer while it lacks samples,
  at most ``block_cap_s``. ``quick``: 3 s and 100 samples, at most 3.5 s; ``full``: 60 s and 1024 samples, at most 300 s.
  Where one inference is longer than a block the rounds end early, after at least two: fewer samples, marked incomplete.

Numbers of different protocol versions are not comparable. The shape is MLPerf Inference's (SingleStream), the durations are shorter.
The part for GPUs has not run on a GPU yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from darts_core.runtime.device import synchronize

PROTOCOL_VERSION = 1
WINDOW = 10
AGREEMENT = 0.02


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The durations of a measurement, for each network and batch size; ``rounds`` is even, so that turns are mirrored."""

    name: str
    samples: int
    rounds: int
    block_s: float
    block_cap_s: float
    warmup_cap_s: float
    warmup_s: float = 1.0

    def __post_init__(self) -> None:
        if self.rounds < 2 or self.rounds % 2:
            raise ValueError(f"rounds must be even and at least 2. Got {self.rounds}.")

    @property
    def cap_s(self) -> float:
        """Seconds that one network's measurement may take at one batch size; the pair of rounds that is running is still finished."""
        return self.rounds * self.block_cap_s


PROTOCOLS = {
    "quick": Protocol(name="quick", samples=100, rounds=10, block_s=0.3, block_cap_s=0.35, warmup_cap_s=2.0),
    "full": Protocol(name="full", samples=1024, rounds=20, block_s=3.0, block_cap_s=15.0, warmup_cap_s=120.0),
}


@dataclass(frozen=True)
class Block:
    """Consecutive samples in ms: wall clock, and the device's own time (empty on a CPU)."""

    wall_ms: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)


def timed_forward(model: nn.Module, x_BCHW: Tensor, *, into: Block) -> None:
    """Run one inference and append its times; the device is at rest before and after."""
    on_gpu = x_BCHW.device.type == "cuda"
    if on_gpu:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start = time.perf_counter_ns()
    if on_gpu:
        begin.record()
    model(x_BCHW)
    if on_gpu:
        end.record()
    synchronize(x_BCHW.device)
    into.wall_ms.append((time.perf_counter_ns() - start) / 1e6)
    if on_gpu:
        into.device_ms.append(begin.elapsed_time(end))


def warm_up(model: nn.Module, x_BCHW: Tensor, *, protocol: Protocol) -> bool:
    """Run until two windows in a row agree; return False where the cap came first (the network is unstable, or slow)."""
    seen, start = Block(), time.perf_counter()
    while True:
        timed_forward(model, x_BCHW, into=seen)
        elapsed = time.perf_counter() - start
        if elapsed >= protocol.warmup_s and len(seen.wall_ms) % WINDOW == 0 and _agree(seen.wall_ms):
            return True
        if elapsed >= protocol.warmup_cap_s:
            return False


def _agree(wall_ms: list[float]) -> bool:
    if len(wall_ms) < 2 * WINDOW:
        return False
    last, before = np.median(wall_ms[-WINDOW:]), np.median(wall_ms[-2 * WINDOW : -WINDOW])
    return bool(abs(last - before) < AGREEMENT * before)


def measure_block(model: nn.Module, x_BCHW: Tensor, *, protocol: Protocol) -> Block:
    """Take one block of at least one sample.

    The first inference brings the network back into the caches that another one used; it counts only where the cap allows no more.
    """
    start, cold, block = time.perf_counter(), Block(), Block()
    timed_forward(model, x_BCHW, into=cold)
    wanted = -(-protocol.samples // protocol.rounds)
    elapsed = time.perf_counter() - start
    while elapsed < protocol.block_cap_s and (elapsed < protocol.block_s or len(block.wall_ms) < wanted):
        timed_forward(model, x_BCHW, into=block)
        elapsed = time.perf_counter() - start
    return block if block.wall_ms else cold


def first_inference(factory: Callable[[], nn.Module], x_BCHW: Tensor, *, memory_format: torch.memory_format) -> tuple[nn.Module, float]:
    """Build a network, move it to the input's device and format, run it once; return it in eval mode, and the ms that all this took.

    On a GPU this includes the kernels' loading or compiling (MIOpen: minutes are possible). It is one sample, not a distribution.
    """
    start = time.perf_counter_ns()
    model = factory().to(x_BCHW.device, memory_format=memory_format).eval()  # type: ignore[call-overload]  # torch's stub lacks the pair
    model(x_BCHW)
    synchronize(x_BCHW.device)
    return model, (time.perf_counter_ns() - start) / 1e6
