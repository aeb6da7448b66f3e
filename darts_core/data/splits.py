"""Stratified, seeded splits: every image in exactly one part, every class in every part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def stratified(
    labels: NDArray[np.int64],
    fraction: float,
    *,
    seed: Sequence[int],
    key: str,
    class_names: Sequence[str],
    advice: str = "Add images or remove the class.",
) -> tuple[Index, Index]:
    """Divide the positions 0..N-1 into a rest and a part that holds about ``fraction`` of each class, both sorted.

    Each class gets its share rounded to the nearest count, at least one image on either side; the draw depends on ``seed`` alone.
    Raise ``ValueError`` that names the classes with fewer than two images, ``key``, and the ``advice``.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    short = [f"'{class_names[k]}' ({counts[k]})" for k in range(len(class_names)) if counts[k] < 2]
    if short:
        raise ValueError(
            f"{key}: every class needs at least 2 images to be divided here (one for each side). Too few in {', '.join(short)}. {advice}"
        )
    rng = np.random.default_rng(list(seed))
    chosen = []
    for k in range(len(class_names)):
        members = np.flatnonzero(labels == k)
        take = min(max(int(len(members) * fraction + 0.5), 1), len(members) - 1)
        chosen.append(rng.permutation(members)[:take])
    part = np.sort(np.concatenate(chosen)).astype(np.int64)
    rest = np.setdiff1d(np.arange(len(labels), dtype=np.int64), part, assume_unique=True)
    return rest, part


def check_covers(labels: NDArray[np.int64], *, part: str, class_names: Sequence[str], advice: str) -> None:
    """Raise ``ValueError`` that lists the classes without any image in this part of the data set."""
    counts = np.bincount(labels, minlength=len(class_names))
    missing = [f"'{name}'" for name, count in zip(class_names, counts) if count == 0]
    if missing:
        raise ValueError(f"No image of {', '.join(missing)} in the {part} split; every class needs at least one there. {advice}")
