"""The same image in two splits: what a network has learnt by heart must not pass for what it has understood."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_SHOWN = 5


def image_digests(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Return 16 bytes for each image of ``pixels`` (N, C, H, W), alike where every pixel is."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in pixels]


def across_splits(digests: Sequence[bytes], splits: Mapping[str, NDArray[np.int64]]) -> list[tuple[int, int]]:
    """Return, for every image that an earlier one of ``splits`` (name -> positions) holds already, its position and that one's."""
    seen: dict[bytes, int] = {}
    found = []
    for index in splits.values():
        own = [(digests[i], i) for i in index.tolist()]
        found += [(i, seen[digest]) for digest, i in own if digest in seen]
        for digest, i in own:
            seen.setdefault(digest, i)
    return found


def describe(pairs: Sequence[tuple[int, int]], names: Sequence[str], splits: Mapping[str, NDArray[np.int64]]) -> str:
    """Return the first few pairs of :func:`across_splits` as ``test 'a/1.png' = train 'a/0.png'``, and how many more there are."""
    part = {i: name for name, index in splits.items() for i in index.tolist()}
    shown = ", ".join(f"{part[i]} '{names[i]}' = {part[j]} '{names[j]}'" for i, j in pairs[:_SHOWN])
    return shown + (f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else "")
