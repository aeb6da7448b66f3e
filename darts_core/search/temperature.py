"""Temperatures of a relaxation as plain functions of the epoch: no state to save, the same value however often a run was resumed."""

from __future__ import annotations

from collections.abc import Callable

from darts_core.search.ranges import LARGEST

Schedule = Callable[[int, int], float]
"""(epoch from 0, number of epochs) -> temperature."""


def linear(first: float, last: float) -> Schedule:
    """Return the line from ``first`` in the first epoch to ``last`` in the last one."""
    _check(first, last)
    return lambda epoch, epochs: first + (last - first) * _progress(epoch, epochs)


def geometric(first: float, last: float) -> Schedule:
    """Return the curve from ``first`` in the first epoch to ``last`` in the last one that falls by the same factor in each."""
    _check(first, last)
    return lambda epoch, epochs: first * (last / first) ** _progress(epoch, epochs)


def _progress(epoch: int, epochs: int) -> float:
    return epoch / max(1, epochs - 1)


def _check(first: float, last: float) -> None:
    if not 0.0 < last <= first <= LARGEST:
        raise ValueError(
            f"method.temperature must be positive and at most {LARGEST:g}, and at least method.temperature_min, which must be positive, "
            f"too. Got {first} and {last}."
        )
