"""The registry of data sets, of images and of text, and the one form in which each of the former hands over its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from darts_core.data.decode import FileRef, ImageForm
from darts_core.data.duplicates import image_digests
from darts_core.data.spec import AugmentPolicy
from darts_core.data.statistics import channel_sums, pixel_hash
from darts_core.data.text import TextSource
from darts_core.registry import Registry

Progress: TypeAlias = Callable[[int, int], None]
PARTS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a data set is told when it collects its images.

    ``budget_bytes`` bounds the decoded images held in memory, ``workdir`` is an empty folder that vanishes afterwards, and
    ``progress`` is called with (images done, images in all).
    """

    budget_bytes: int
    workdir: Path
    skip_unreadable: bool = False
    num_workers: int = 0
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class Collected:
    """All images of a data set in a stable order, before they are split.

    ``parts[i]`` is the split that image i belongs to by the data set's own division, or "" where it has none; ``sums`` and
    ``squares`` (N, C) are per image and channel over raw 0..255 values, ``digests`` per image, alike where all pixels are. Either
    ``pixels`` (N, C, H, W) or ``files`` is given.
    """

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    parts: Sequence[str]
    names: Sequence[str]
    shape: tuple[int, int, int]
    sums: NDArray[np.int64]
    squares: NDArray[np.int64]
    digests: Sequence[bytes]
    augment: AugmentPolicy
    content_hash: str
    test_fraction: float | None
    pixels: NDArray[np.uint8] | None = None
    files: Sequence[FileRef] | None = None
    form: ImageForm | None = None
    num_skipped: int = 0

    def __post_init__(self) -> None:
        assert (self.pixels is None) != (self.files is None)
        assert len(self.labels) == len(self.parts) == len(self.names) == len(self.sums) == len(self.digests)


Dataset: TypeAlias = Callable[[Request], Collected]
DATASETS: Registry[Dataset | TextSource] = Registry("data set", key="data")


def collect_arrays(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    class_names: Sequence[str],
    parts: Sequence[str],
    names: Sequence[str],
    augment: AugmentPolicy,
    test_fraction: float | None = None,
) -> Collected:
    """Wrap a data set that comes as arrays: ``pixels`` (N, C, H, W), ``labels`` (N,) in 0..K-1."""
    pixels = np.ascontiguousarray(pixels)
    sums, squares = channel_sums(pixels)
    return Collected(
        class_names=tuple(class_names),
        labels=labels.astype(np.int64),
        parts=parts,
        names=names,
        shape=(pixels.shape[1], pixels.shape[2], pixels.shape[3]),
        sums=sums,
        squares=squares,
        digests=image_digests(pixels),
        augment=augment,
        content_hash=pixel_hash(pixels, labels, class_names=class_names, parts=parts),
        test_fraction=test_fraction,
        pixels=pixels,
    )


def check_fraction(value: float, *, key: str) -> None:
    """Raise ``ValueError`` unless ``value`` is a share that leaves something on both sides."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{key} must lie between 0 and 1, both excluded. Got {value}.")
