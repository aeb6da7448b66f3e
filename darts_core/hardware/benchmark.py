"""Networks on one device, over a ladder of batch sizes; they take turns, so that the machine's mood meets all alike.

At each batch size the networks run in rounds: A B C A' | A' C B A | ..., where A' is the first network once more. The ratio of A' to A is
the noise floor: a difference between networks that is smaller is not claimed. All is timed in one process; on the RX 580 a fault of the
driver can end it. Not run on a GPU yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from darts_core.hardware.latency import Block, Protocol, first_inference, measure_block, warm_up
from darts_core.hardware.memory import ForwardMemory, forward_memory
from darts_core.hardware.rows import Row
from darts_core.hardware.statistics import compare, summarise
from darts_core.runtime.device import synchronize


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What is the same for all rows."""

    protocol: Protocol
    device: torch.device
    input_shape: tuple[int, ...]
    num_tokens: int | None
    memory_format: torch.memory_format
    num_threads: int
    reference: str

    @property
    def steps(self) -> int:
        """How many tokens of a text an input has in each column; 1 for an image."""
        return 1 if self.num_tokens is None else self.input_shape[0]

    def inputs(self, batch_size: int) -> Tensor:
        """Return random images (B, C, H, W), or tokens (T, B), on the device, the same ones for every network."""
        generator = torch.Generator().manual_seed(0)
        if self.num_tokens is not None:
            return torch.randint(self.num_tokens, (*self.input_shape, batch_size), generator=generator).to(self.device)
        images = torch.randn(batch_size, *self.input_shape, generator=generator)
        return images.to(self.device, memory_format=self.memory_format)


@dataclass(frozen=True)
class _Contender:
    name: str
    model: nn.Module | None  # None: it did not fit the device
    first_inference_ms: float | None


@dataclass(frozen=True)
class _Entrant:
    """A contender that fits at this batch size, warmed up."""

    model: nn.Module
    memory: ForwardMemory
    is_stable: bool


def benchmark(
    networks: Mapping[str, Callable[[], nn.Module]],
    *,
    input_shape: tuple[int, ...],
    batch_sizes: Sequence[int],
    protocol: Protocol,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    num_tokens: int | None = None,
    on_step: Callable[[Sequence[Row]], None] | None = None,
) -> list[Row]:
    """Measure each network at each batch size, ascending; return one row for each pair, batch size by batch size.

    ``networks`` maps a name to a function that builds the network with its weights, since the time from there to the first result is
    measured, too (a batch of one, in a process that has already run something else). The first network is the reference of the ratios.
    ``input_shape`` is (C, H, W); with ``num_tokens`` it is (T,), and networks read tokens (T, B) below that number. Images and weights lie
    in ``memory_format``; all weights stay on the device; the CPU computes with the threads that torch is set to. A batch that does not fit
    is a row with status ``oom``, and the last of that network. ``on_step`` gets the rows of a batch size as soon as they are there.
    Raise ``ValueError`` where there is nothing to measure.
    """
    sizes = sorted(set(batch_sizes))
    if not sizes or sizes[0] < 1:
        raise ValueError(f"benchmark_hw.batch_sizes: at least one size of 1 or more expected. Got {list(batch_sizes)}.")
    if not networks:
        raise ValueError("networks: at least one expected, the first of which is the reference. Got none.")
    setting = _Setting(
        protocol=protocol,
        device=device,
        input_shape=input_shape,
        num_tokens=num_tokens,
        memory_format=memory_format,
        num_threads=torch.get_num_threads(),
        reference=next(iter(networks)),
    )
    rows: list[Row] = []
    with torch.inference_mode():
        _wake(device)
        contenders = [_build(name, factory, setting=setting) for name, factory in networks.items()]
        for batch_size in sizes:
            step = _measure(contenders, batch_size, setting=setting)
            contenders = [c for c, row in zip(contenders, step, strict=True) if row.status == "ok"]
            rows += step
            if on_step is not None:
                on_step(step)
    return rows


def _wake(device: torch.device) -> None:
    """Start threads, context and libraries, which the first network would else be charged for."""
    nn.Conv2d(3, 8, 3).to(device)(torch.zeros(1, 3, 8, 8, device=device))
    synchronize(device)


def _build(name: str, factory: Callable[[], nn.Module], *, setting: _Setting) -> _Contender:
    if isinstance(factory, nn.Module):
        raise ValueError(f"networks['{name}'] must be a function that builds the network. Got the network itself.")
    try:
        model, milliseconds = first_inference(factory, setting.inputs(1), memory_format=setting.memory_format)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return _Contender(name, None, None)
    return _Contender(name, model, milliseconds)


def _is_out_of_memory(error: RuntimeError) -> bool:
    # A full GPU has an error of its own in torch, a full machine only a message.
    return isinstance(error, torch.cuda.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _enter(contender: _Contender, batch_size: int, *, setting: _Setting) -> _Entrant | None:
    """Take the memory and warm up; None where the batch does not fit."""
    if contender.model is None:
        return None
    try:
        x_BCHW = setting.inputs(batch_size)
        memory = forward_memory(contender.model, x_BCHW)
        return _Entrant(contender.model, memory, warm_up(contender.model, x_BCHW, protocol=setting.protocol))
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return None


def _measure(contenders: Sequence[_Contender], batch_size: int, *, setting: _Setting) -> list[Row]:
    """Measure one step of the ladder; return a row for each contender, in order."""
    entrants = {c.name: e for c in contenders if (e := _enter(c, batch_size, setting=setting)) is not None}
    lanes = {name: entrant.model for name, entrant in entrants.items()}
    again = f"{setting.reference}, again"
    if setting.reference in lanes:
        lanes[again] = lanes[setting.reference]
    blocks = _take_turns(lanes, batch_size, setting=setting)
    noise_floor = None
    if again in blocks:
        noise_floor = compare(_wall_ms(blocks[again]), reference=_wall_ms(blocks[setting.reference])).noise
    return [
        _row(c, entrants.get(c.name), batch_size=batch_size, setting=setting, blocks=blocks, noise_floor=noise_floor) for c in contenders
    ]


def _row(
    contender: _Contender,
    entrant: _Entrant | None,
    *,
    batch_size: int,
    setting: _Setting,
    blocks: Mapping[str, Sequence[Block]],
    noise_floor: float | None,
) -> Row:
    name, protocol, layout = contender.name, setting.protocol, str(setting.memory_format).removeprefix("torch.")
    threads = setting.num_threads
    if entrant is None:
        return Row(network=name, batch_size=batch_size, status="oom", protocol=protocol.name, memory_format=layout, num_threads=threads)
    latency = summarise(_wall_ms(blocks[name]))
    reference = blocks.get(setting.reference)
    return Row(
        network=name,
        batch_size=batch_size,
        status="ok",
        protocol=protocol.name,
        memory_format=layout,
        num_threads=threads,
        steps=setting.steps,
        latency=latency,
        device_median_ms=_device_median_ms(blocks[name]),
        ratio=None if reference is None else compare(_wall_ms(blocks[name]), reference=_wall_ms(reference)),
        noise_floor=noise_floor,
        is_stable=entrant.is_stable,
        is_complete=latency.n >= protocol.samples,
        first_inference_ms=contender.first_inference_ms,
        memory=entrant.memory,
    )


def _take_turns(lanes: dict[str, nn.Module], batch_size: int, *, setting: _Setting) -> dict[str, list[Block]]:
    """Return a block of each lane for each round; every other round goes backwards, so that a steady drift cancels.

    Where inferences are longer than blocks, the rounds end early, after a pair, with fewer samples: a slow machine must not take hours.
    """
    blocks: dict[str, list[Block]] = {name: [] for name in lanes}
    if lanes:
        x_BCHW = setting.inputs(batch_size)
        end = time.perf_counter() + setting.protocol.cap_s * len(lanes)
        for _ in range(setting.protocol.rounds // 2):
            for name in (*lanes, *reversed(lanes)):
                blocks[name].append(measure_block(lanes[name], x_BCHW, protocol=setting.protocol))
            if time.perf_counter() > end:
                break
    return blocks


def _wall_ms(blocks: Sequence[Block]) -> list[list[float]]:
    return [block.wall_ms for block in blocks]


def _device_median_ms(blocks: Sequence[Block]) -> float | None:
    samples = [sample for block in blocks for sample in block.device_ms]
    return float(np.median(samples)) if samples else None
