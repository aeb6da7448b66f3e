"""Decode many files, in parallel where it pays, and measure them on the way."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from darts_core.data.decode import FileReader, FileRef, ImageForm, UnreadableImageError, decode, without_remarks
from darts_core.data.duplicates import image_digests
from darts_core.data.statistics import channel_sums
from darts_core.data.workers import submit

_CHUNK_BYTES = 4 * 2**20
_CHUNK_FILES = 256
_CHUNKS_AHEAD_PER_WORKER = 4
PARALLEL_FROM_BYTES = 16 * 2**20  # below it processes take longer to start than one takes to finish


@dataclass
class Read:
    """What came of some files: for those that decoded, in order, their position, measures and pixels; for the rest, why not."""

    kept: list[int] = field(default_factory=list)
    sums: list[NDArray[np.int64]] = field(default_factory=list)
    squares: list[NDArray[np.int64]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    pixel_digests: list[bytes] = field(default_factory=list)
    is_grey: bool = True
    pixels: NDArray[np.uint8] | None = None
    unreadable: dict[int, str] = field(default_factory=dict)
    other_sizes: dict[int, str] = field(default_factory=dict)


def read_files(files: Sequence[FileRef], form: ImageForm, *, shape: tuple[int, int], keep_pixels: bool) -> Read:
    """Decode ``files`` here. An image that is not of ``shape`` (H, W) in the end is noted in ``other_sizes``."""
    out = Read()
    pixels = np.empty((len(files), form.channels, *shape), dtype=np.uint8)
    with without_remarks(), FileReader() as reader:
        for i, file in enumerate(files):
            try:
                data = reader.read(file)
                image, grey = decode(data, form)
            except UnreadableImageError as error:
                out.unreadable[i] = str(error)
                continue
            if image.shape[1:] != shape:
                out.other_sizes[i] = f"{image.shape[2]}x{image.shape[1]}"
                continue
            pixels[len(out.kept)] = image
            out.kept.append(i)
            out.is_grey &= grey
            if not keep_pixels:
                out.digests.append(hashlib.sha256(data).digest())
    pixels = pixels[: len(out.kept)]
    sums, squares = channel_sums(pixels)
    out.sums.append(sums)
    out.squares.append(squares)
    out.pixel_digests = image_digests(pixels)
    if keep_pixels:
        out.pixels = pixels
    return out


def read_all(
    files: Sequence[FileRef],
    form: ImageForm,
    *,
    shape: tuple[int, int],
    keep_pixels: bool,
    num_workers: int,
    progress: Callable[[int, int], None] | None,
) -> Read:
    """Like :func:`read_files`, in ``num_workers`` processes where there is enough to do; the outcome is the same."""
    count = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // (form.channels * shape[0] * shape[1])))
    workers = num_workers if sum(file.num_bytes() for file in files) >= PARALLEL_FROM_BYTES else 0
    if workers:
        files = [file.absolute() for file in files]
    out = Read()
    if keep_pixels:
        out.pixels = np.empty((len(files), form.channels, *shape), dtype=np.uint8)
    waiting: deque[tuple[int, Callable[[], Read]]] = deque()

    def collect() -> None:
        first, wait = waiting.popleft()
        _add(out, wait(), first=first)
        if progress is not None:
            progress(min(first + count, len(files)), len(files))

    for start in range(0, len(files), count):
        chunk = files[start : start + count]
        waiting.append((start, submit(workers, read_files, chunk, form, shape=shape, keep_pixels=keep_pixels)))
        if len(waiting) > _CHUNKS_AHEAD_PER_WORKER * workers:
            collect()
    while waiting:
        collect()
    if out.pixels is not None:
        out.pixels = out.pixels[: len(out.kept)]
    return out


def _add(out: Read, part: Read, *, first: int) -> None:
    if out.pixels is not None and part.pixels is not None:
        out.pixels[len(out.kept) : len(out.kept) + len(part.kept)] = part.pixels
    out.kept += [first + i for i in part.kept]
    out.sums += part.sums
    out.squares += part.squares
    out.digests += part.digests
    out.pixel_digests += part.pixel_digests
    out.is_grey &= part.is_grey
    out.unreadable |= {first + i: reason for i, reason in part.unreadable.items()}
    out.other_sizes |= {first + i: size for i, size in part.other_sizes.items()}


def decode_batch(files: Sequence[FileRef], form: ImageForm) -> NDArray[np.uint8]:
    """Return the images (B, C, H, W). Raise ``ValueError`` with the path of one that no longer decodes."""
    images = []
    with without_remarks(), FileReader() as reader:
        for file in files:
            try:
                images.append(decode(reader.read(file), form)[0])
            except UnreadableImageError as error:
                raise ValueError(f"{file.path}: {error}. It was readable when the data were prepared: run prepare_data again.") from None
    return np.stack(images)
