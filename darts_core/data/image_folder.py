"""A user's own images: a folder, or an archive of one."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from darts_core.data.archive import SUFFIXES, is_archive, unpack
from darts_core.data.dataset import DATASETS, Collected, Dataset, Request, check_fraction
from darts_core.data.decode import MAX_PIXELS, FileReader, FileRef, ImageForm, Resize, UnreadableImageError, decode, without_remarks
from darts_core.data.layout import Layout, printable, read_layout
from darts_core.data.listing import Listing, list_folder
from darts_core.data.reading import PARALLEL_FROM_BYTES, Read, read_all
from darts_core.data.spec import AugmentPolicy
from darts_core.data.statistics import file_hash, pixel_hash
from darts_core.data.workers import start_workers

log = logging.getLogger(__name__)
_SHOWN = 20  # of the files that their ending alone rules out


@DATASETS.register("image_folder")
def image_folder(
    *,
    root: str,
    image_size: int | None = None,
    resize: Resize = "crop",
    channels: Literal["auto", 1, 3] = "auto",
    test_fraction: float = 0.2,
) -> Dataset:
    """Your own images: <root>/<class>/ or <root>/train|val|test/<class>/, or a .tar, .tar.xz, .tar.gz, .zip of that.

    ``image_size`` is the side of the square that every image becomes, by the rule ``resize`` (crop, squash, pad); null keeps the
    images as they are, which must then be of one size. ``channels`` auto takes 1 where all files are grey, else 3.
    ``test_fraction`` becomes the test split where the folders have none.
    """
    check_fraction(test_fraction, key="data.test_fraction")
    if image_size is not None and image_size < 1:
        raise ValueError(f"data.image_size must be at least 1, or null for images that are all of one size. Got {image_size}.")
    if image_size is not None and image_size > math.isqrt(MAX_PIXELS):
        raise ValueError(f"data.image_size must be at most {math.isqrt(MAX_PIXELS)}, the side of the largest image. Got {image_size}.")
    form = ImageForm(channels=1 if channels == 1 else 3, size=image_size, resize=resize)

    def collect(request: Request) -> Collected:
        listing = _list(Path(root), request)
        layout = read_layout(listing)
        if others := len(listing.others) - len(layout.foreign):
            log.warning("%d files in %s are not images by their ending and are left out", others, root)
        files = [listing.images[entry.path] for entry in layout.entries]
        shape = _shape(files, form)
        keep = len(files) * form.channels * shape[0] * shape[1] <= request.budget_bytes
        read = read_all(files, form, shape=shape, keep_pixels=keep, num_workers=request.num_workers, progress=request.progress)
        _check(read, layout, shape=shape, skip=request.skip_unreadable)
        return _collected(layout, files, read, form, shape=shape, grey=channels == "auto" and read.is_grey, test_fraction=test_fraction)

    return collect


def _list(root: Path, request: Request) -> Listing:
    if not root.exists():
        raise ValueError(f"data.root: {root} does not exist. Give the folder or archive of your images (relative to params.yaml).")
    if root.is_dir():
        return list_folder(root)
    if not is_archive(root):
        raise ValueError(f"data.root: {root} is neither a folder nor an archive ({', '.join(SUFFIXES)}).")
    if root.stat().st_size >= PARALLEL_FROM_BYTES:
        start_workers(request.num_workers)
    return unpack(root, request.workdir / "images.pack")


def _shape(files: Sequence[FileRef], form: ImageForm) -> tuple[int, int]:
    """Return (height, width) of the data set; without ``data.image_size`` the first readable image decides."""
    if form.size is not None:
        return form.size, form.size
    with without_remarks(), FileReader() as reader:
        for file in files:
            try:
                image, _ = decode(reader.read(file), form)
            except UnreadableImageError:
                continue
            return image.shape[1], image.shape[2]
    return 1, 1  # none is: each of them will be listed


def _check(read: Read, layout: Layout, *, shape: tuple[int, int], skip: bool) -> None:
    """Raise ``ValueError`` that lists the unreadable images (unless they are skipped) or shows that sizes differ."""
    entries, foreign = layout.entries, layout.foreign
    bad = [f"{printable(entries[i].path)}: {reason}" for i, reason in sorted(read.unreadable.items())]
    bad += [f"{printable(path)}: {reason}" for path, reason in foreign[:_SHOWN]]
    if len(foreign) > _SHOWN:
        bad.append(f"{len(foreign) - _SHOWN} more files of such endings")
    if bad and not skip:
        raise ValueError(
            f"{len(read.unreadable) + len(foreign)} of {len(entries) + len(foreign)} images cannot be read. Replace or remove them, "
            "or set data.unreadable to skip:\n  " + "\n  ".join(bad)
        )
    for line in bad:
        log.warning("skipped %s", line)
    if read.other_sizes:
        other, size = next(iter(sorted(read.other_sizes.items())))
        raise ValueError(
            f"The images are not of one size: {entries[read.kept[0]].path} is {shape[1]}x{shape[0]}, {entries[other].path} is {size} "
            f"({len(read.other_sizes)} of {len(entries)} differ). Set data.image_size, the side of the square that they become."
        )
    if not read.kept:
        raise ValueError(f"None of the {len(entries)} images under data.root can be read.")


def _collected(
    layout: Layout,
    files: Sequence[FileRef],
    read: Read,
    form: ImageForm,
    *,
    shape: tuple[int, int],
    grey: bool,
    test_fraction: float,
) -> Collected:
    entries = [layout.entries[i] for i in read.kept]
    labels = np.array([entry.label for entry in entries], dtype=np.int64)
    parts = [entry.part for entry in entries]
    num_channels = 1 if grey else form.channels
    final = ImageForm(num_channels, form.size, form.resize)
    # A grey file decoded to three channels has the same values in each.
    pixels = None if read.pixels is None else read.pixels[:, :num_channels]
    if pixels is not None:
        content = pixel_hash(pixels, labels, class_names=layout.class_names, parts=parts)
    else:
        described = (num_channels, form.size, form.resize)
        content = file_hash(read.digests, labels, class_names=layout.class_names, parts=parts, form=described)
    side = min(shape)
    return Collected(
        class_names=layout.class_names,
        labels=labels,
        parts=parts,
        names=[printable(entry.path) for entry in entries],
        shape=(num_channels, *shape),
        sums=np.concatenate(read.sums)[:, :num_channels],
        squares=np.concatenate(read.squares)[:, :num_channels],
        digests=read.pixel_digests,
        # The reference's numbers for 32x32 (padding 4, cutout 16), scaled.
        augment=AugmentPolicy(crop_padding=round(side / 8), flip=True, cutout_length=side // 2 if side >= 4 else 0),
        content_hash=content,
        test_fraction=test_fraction,
        pixels=pixels,
        files=None if pixels is not None else [files[i] for i in read.kept],
        form=None if pixels is not None else final,
        num_skipped=len(layout.entries) - len(entries) + len(layout.foreign),
    )
