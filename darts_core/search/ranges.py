"""Ranges of the options of a method."""

from __future__ import annotations

LARGEST = 1e30
"""Of an option that is no count: a float32 ends at 3.4e38, and what is multiplied by it must end before that."""


def at_least(limit: int, key: str, value: int) -> int:
    """Return ``value``. Raise ``ValueError`` where the option ``key`` of a method is below ``limit``."""
    if value < limit:
        raise ValueError(f"method.{key} must be at least {limit}. Got {value}.")
    return value


def in_range(
    value: float,
    key: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return ``value``. Raise ``ValueError`` where the option ``key`` of a method lies outside the limits, or above ``LARGEST``."""
    if value > LARGEST and at_most is None and below is None:
        at_most = LARGEST
    limits = {"above": above, "at least": at_least, "below": below, "at most": at_most}
    fits = (
        (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    )
    if not fits:
        wanted = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
        raise ValueError(f"method.{key} must be {wanted}. Got {value:g}.")
    return value
