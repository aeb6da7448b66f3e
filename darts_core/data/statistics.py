"""Mean and deviation from exact integer sums, and content hashes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)
_CHUNK = 1024


def channel_sums(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sums of values and of squared values per image and channel, (N, C) each, for ``pixels`` (N, C, H, W)."""
    n, channels = pixels.shape[:2]
    sums, squares = np.empty((2, n, channels), dtype=np.int64)
    for start in range(0, n, _CHUNK):
        part = pixels[start : start + _CHUNK].reshape(-1, channels, pixels.shape[2] * pixels.shape[3])
        sums[start : start + _CHUNK] = part.sum(axis=2, dtype=np.int64)
        squares[start : start + _CHUNK] = np.square(part, dtype=np.uint16).sum(axis=2, dtype=np.int64)
    return sums, squares


def mean_and_std(
    sums: NDArray[np.int64], squares: NDArray[np.int64], *, pixels_per_image: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return per-channel mean and population deviation in units of [0, 1] from the sums of the images that count.

    A channel that is one constant colour has no deviation; it gets 1.0, so that it is normalised to 0 and not to infinity.
    """
    count = len(sums) * pixels_per_image
    mean, std = [], []
    for channel in range(sums.shape[1]):
        total, square = int(sums[:, channel].sum()), int(squares[:, channel].sum())
        variance = (square * count - total * total) / (count * count)
        if variance == 0.0:
            log.warning("channel %d has the same value in every training image; it carries no information", channel)
        mean.append(total / count / 255.0)
        std.append(variance**0.5 / 255.0 or 1.0)
    return tuple(mean), tuple(std)


def pixel_hash(pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, class_names: Sequence[str], parts: Sequence[str] = ()) -> str:
    """Return the sha256 of decoded images, labels, class names and the data set's own division, in the given order."""
    digest = _header([list(class_names), list(parts), list(pixels.shape)], labels)
    for start in range(0, len(pixels), _CHUNK):
        digest.update(np.ascontiguousarray(pixels[start : start + _CHUNK]).data)
    return digest.hexdigest()


def file_hash(
    digests: Sequence[bytes], labels: NDArray[np.int64], *, class_names: Sequence[str], parts: Sequence[str], form: Sequence[object]
) -> str:
    """Like :func:`pixel_hash`, over the files' own sha256 digests and how the files are decoded."""
    digest = _header([list(class_names), list(parts), list(form)], labels)
    for one in digests:
        digest.update(one)
    return digest.hexdigest()


def _header(described: list[object], labels: NDArray[np.int64]) -> hashlib._Hash:
    digest = hashlib.sha256(json.dumps(described).encode())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest
