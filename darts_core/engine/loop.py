"""What the search and the retraining loop share: their data, their log, an evaluation pass, seconds and memory of an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.metrics import RunningMean, top_k_accuracy
from darts_core.runtime.device import synchronize
from darts_core.runtime.memory import PeakMemory

Log = Callable[[Mapping[str, float], int], None]
Batch = tuple[Any, Tensor]
"""Images and labels, or a window of a text and the tokens to predict."""
T = TypeVar("T")


class Loader(Protocol):
    """Yields the (images, labels) batches of one epoch."""

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


@runtime_checkable
class Stateful(Protocol):
    """Something whose random state a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # noqa: D102


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what happened and which key to change."""


class DivergedError(TrainingError):
    """A loss is no number. ``costs`` are those of the epochs until then, where they were counted."""

    def __init__(self, message: str, *, costs: Sequence[Mapping[str, float]] = ()) -> None:
        super().__init__(message)
        self.costs = list(costs)


def no_log(metrics: Mapping[str, float], epoch: int) -> None:
    """Log nothing."""


def to_device(batches: Iterable[Any], device: torch.device, memory_format: torch.memory_format) -> Iterator[Batch]:
    """Yield (images, labels) on the device, in the memory format of the network."""
    for images, labels in batches:
        yield images.to(device, non_blocking=True, memory_format=memory_format), labels.to(device, non_blocking=True)


@torch.no_grad()
def assess(network: nn.Module, batches: Iterable[Batch], *, mode: Callable[[], object] | None = None) -> tuple[float, float]:
    """Return mean cross entropy and top-1 accuracy in percent over ``batches`` (on the network's device), in evaluation mode.

    ``mode`` sets another one. The network is in training mode afterwards.
    """
    loss, accuracy = RunningMean(), RunningMean()
    (mode or network.eval)()
    for images, labels in batches:
        logits = network(images)
        loss.update(F.cross_entropy(logits, labels), len(labels))
        accuracy.update(top_k_accuracy(logits, labels), len(labels))
    network.train()
    return loss.value, accuracy.value


def require_finite(loss: float, *, what: str, advice: str) -> None:
    """Raise ``DivergedError`` where a loss is not a number."""
    if not torch.isfinite(torch.tensor(loss)):
        raise DivergedError(f"{what} is {loss}: the training diverged. {advice}")


def calmer(section: str, grad_clip: float) -> str:
    """Return what to change of a recipe whose loss was no number; ``section`` is that of ``params.yaml``."""
    return f"Lower {section}.lr, or {'lower' if grad_clip else 'set'} {section}.grad_clip."


class EpochCost:
    """Seconds, peak memory and the share of waiting for data of each epoch, while it is open: ``with EpochCost(device) as cost``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = PeakMemory(device)
        self._started = time.perf_counter()
        self._waited = 0.0

    def __enter__(self) -> EpochCost:
        self._memory.__enter__()
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._memory.__exit__(kind, value, trace)

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield ``batches``; the seconds until each is there count as spent on data."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - asked
            yield batch

    def lap(self) -> dict[str, float]:
        """End an epoch and begin the next: ``epoch_s``, ``data_percent``, ``rss_mib``, on a GPU ``vram_mib`` and ``vram_reserved_mib``.

        ``data_percent`` is the share of the epoch that this process spent in :meth:`waiting`. A GPU may work on meanwhile, and what it
        augments itself is not seen.
        """
        synchronize(self._device)
        now = time.perf_counter()
        seconds, self._started = now - self._started, now
        waited, self._waited = self._waited, 0.0
        return {"epoch_s": seconds, "data_percent": 100.0 * waited / max(seconds, 1e-9), **self._memory.lap()}


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn a GPU's out-of-memory error into a ``TrainingError`` that says which key to change."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(f"The GPU's memory is full. {advice} ({str(error).partition('.')[0]}.)") from error
