"""Positions along a line that keep their distance: bands of a drawing, labels beside curves."""

from __future__ import annotations

from collections.abc import Sequence


def spread(desired: Sequence[float], gaps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Return positions as near as possible to ``desired`` (least squares) that keep their order and ``gaps`` between neighbours."""
    shift = [0.0]
    for gap in gaps:
        shift.append(shift[-1] + gap)
    weights = [1.0] * len(desired) if weights is None else weights
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length: pools of adjacent violators
    for target, offset, weight in zip(desired, shift, weights):
        block = (target - offset, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            mean, mass, length = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, length + block[2])
        blocks.append(block)
    means = [mean for mean, _, length in blocks for _ in range(length)]
    return [mean + offset for mean, offset in zip(means, shift)]
