"""The files of one prepared folder (``trainval/`` or ``test/``): written by prepare, read by open_prepared.

``labels.npy`` and either ``images.npy`` (uint8, N x C x H x W) or ``manifest.csv`` (one line an image: path, offset, size, label),
``images.pack`` beside it where the images came in an archive; ``splits.json`` (row i is the i-th name of the parts, in their
order) and ``storage.json``.
"""

from __future__ import annotations

import csv
import errno
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from darts_core.data.dataset import Collected
from darts_core.data.decode import FileReader, FileRef, ImageForm
from darts_core.data.images import ArrayStore, FileStore, Images
from darts_core.data.spec import SCHEMA_VERSION, DataSpec

PACK = "images.pack"
_CHUNK = 1024
_COLUMNS = ("path", "offset", "size", "label")


def write_folder(folder: Path, collected: Collected, parts: Mapping[str, NDArray[np.int64]], *, mapped: bool, prepared_id: str) -> None:
    """Write the images of ``parts`` (name -> positions in ``collected``) to the new ``folder``, one part after the other."""
    folder.mkdir()
    rows = np.concatenate(list(parts.values()))
    np.save(folder / "labels.npy", collected.labels[rows])
    if collected.pixels is not None:
        _write_pixels(folder / "images.npy", collected.pixels, rows)
    else:
        _write_manifest(folder, collected, rows)
    _write_json(folder / "splits.json", {name: [collected.names[i] for i in index] for name, index in parts.items()})
    kind = "files" if collected.pixels is None else "mapped" if mapped else "arrays"
    form = None if collected.form is None else asdict(collected.form)
    _write_json(folder / "storage.json", {"kind": kind, "form": form, "prepared_id": prepared_id})


def read_storage(folder: Path) -> dict[str, Any]:
    """Return ``storage.json``. Raise ``ValueError`` where it is missing or of another version."""
    return _read_json(folder / "storage.json")


def read_folder(folder: Path, spec: DataSpec) -> dict[str, Images]:
    """Return the images of each part of ``folder``."""
    storage = read_storage(folder)
    labels = torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False))
    store: ArrayStore | FileStore
    if storage["kind"] == "files":
        store = FileStore(_read_manifest(folder), ImageForm(**storage["form"]))
        found = len(store.files)
    else:
        # Copy on write: nothing is ever written, but torch asks for memory that could be.
        mode: Any = "c" if storage["kind"] == "mapped" else None
        store = ArrayStore(torch.from_numpy(np.load(folder / "images.npy", mmap_mode=mode, allow_pickle=False)))
        found = len(store.pixels)
    parts = {name: len(names) for name, names in _read_json(folder / "splits.json").items() if name != "schema_version"}
    if not found == len(labels) == sum(parts.values()):
        raise ValueError(f"{folder}: {found} images, {len(labels)} labels, {sum(parts.values())} names; run prepare_data again.")
    images, start = {}, 0
    for name, count in parts.items():
        rows = torch.arange(start, start + count)
        images[name] = Images(spec, store, rows=rows, labels=labels[rows])
        start += count
    return images


def _write_pixels(path: Path, pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    size = len(rows) * int(np.prod(pixels.shape[1:]))
    if size > shutil.disk_usage(path.parent).free:  # a mapped file that meets the end of the disk kills the process
        raise OSError(errno.ENOSPC, f"No space left for {size / 2**20:.0f} MiB", str(path))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(rows), *pixels.shape[1:]))
    for start in range(0, len(rows), _CHUNK):
        out[start : start + _CHUNK] = pixels[rows[start : start + _CHUNK]]
    out.flush()


def _write_manifest(folder: Path, collected: Collected, rows: NDArray[np.int64]) -> None:
    """Refer to files of the user's where they lie; copy bytes of an unpacked archive into this folder's own pack."""
    assert collected.files is not None
    lines: list[Sequence[object]] = []
    with open(folder / PACK, "wb") as pack, FileReader() as reader:
        for row in rows:
            file = collected.files[row]
            if file.size is None:
                lines.append((file.path, 0, "", collected.labels[row]))
            else:
                lines.append((PACK, pack.tell(), file.size, collected.labels[row]))
                pack.write(reader.read(file))
    if all(line[2] == "" for line in lines):
        (folder / PACK).unlink()
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file_:
        csv.writer(file_).writerows([_COLUMNS, *lines])


def _read_manifest(folder: Path) -> list[FileRef]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = list(csv.DictReader(file))
    files = (
        FileRef(str(folder / PACK), int(line["offset"]), int(line["size"])) if line["size"] else FileRef(line["path"]) for line in lines
    )
    return [file.absolute() for file in files]


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}). Run: dvc repro prepare_data.") from None
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: expected schema_version {SCHEMA_VERSION}. Run: dvc repro prepare_data.")
    return values
