"""A mean over the batches of an epoch."""

from __future__ import annotations

from torch import Tensor


class RunningMean:
    """Mean of batch means, each weighted by its number of examples, summed in float64.

    A tensor stays on its device until ``value`` is read, so that a training loop waits for the device once an epoch, not once a batch.
    """

    def __init__(self) -> None:
        self._total: float | Tensor = 0.0
        self._count = 0

    @property
    def count(self) -> int:
        """Examples seen so far."""
        return self._count

    @property
    def value(self) -> float:
        """The mean. Raise ``ValueError`` where nothing was added."""
        if not self._count:
            raise ValueError("The mean of no examples is not defined: expected at least one update. Got none (an empty loader?).")
        return float(self._total) / self._count

    def update(self, value: float | Tensor, count: int = 1) -> None:
        """Add the mean ``value`` (a number or a tensor with one element) of ``count`` examples."""
        if count < 1:
            raise ValueError(f"count must be at least 1. Got {count}.")
        if isinstance(value, Tensor):
            value = value.detach().double().reshape(())
        self._total = self._total + value * count
        self._count += count
