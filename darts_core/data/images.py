"""A set of uint8 images with labels, held as one tensor or decoded from files when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts_core.data.decode import FileRef, ImageForm
from darts_core.data.reading import decode_batch
from darts_core.data.spec import AugmentPolicy, DataSpec
from darts_core.data.statistics import channel_sums, mean_and_std, pixel_hash
from darts_core.data.workers import submit

Pending: TypeAlias = Callable[[], Tensor]


class Store(Protocol):
    """Where pixels come from: ``request`` starts to fetch rows and returns what waits for them as uint8 (B, C, H, W)."""

    def request(self, rows: Tensor, *, num_workers: int) -> Pending: ...  # noqa: D102


class ArrayStore:
    """All images in one contiguous uint8 tensor (N, C, H, W), which may be mapped from a file."""

    def __init__(self, pixels: Tensor) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise ValueError(f"Images must be uint8 (N, C, H, W). Got {pixels.dtype} {tuple(pixels.shape)}.")
        self.pixels = pixels.contiguous()

    def request(self, rows: Tensor, *, num_workers: int) -> Pending:
        """Return the rows when called; nothing is gained by starting earlier."""
        return lambda: self.pixels.index_select(0, rows)


class FileStore:
    """Images that are decoded when they are asked for, by processes that live as long as this one."""

    def __init__(self, files: Sequence[FileRef], form: ImageForm) -> None:
        self.files = files
        self.form = form

    def request(self, rows: Tensor, *, num_workers: int) -> Pending:
        """Start to decode: one batch is the work of one process, and batches are asked for ahead."""
        files = [self.files[row] for row in rows.tolist()]
        wait = submit(num_workers, decode_batch, files, self.form)
        return lambda: torch.from_numpy(wait())


class Images:
    """Some rows of a store, with their labels; positions 0..len-1 are this view's own."""

    def __init__(self, spec: DataSpec, store: Store, *, rows: Tensor, labels: Tensor) -> None:
        if len(rows) != len(labels):
            raise ValueError(f"Expected one label an image. Got {len(rows)} images and {len(labels)} labels.")
        self.spec = spec
        self.labels = labels
        self._store = store
        self._rows = rows

    @classmethod
    def from_arrays(
        cls,
        images: Tensor | NDArray[np.uint8],
        labels: Tensor | NDArray[np.int64] | Sequence[int],
        *,
        spec: DataSpec | None = None,
        augment: AugmentPolicy | None = None,
        name: str = "arrays",
    ) -> Images:
        """Wrap ``images`` uint8 (N, C, H, W) and ``labels`` (N,) of 0..K-1; without ``spec`` one is computed from them."""
        store = ArrayStore(torch.as_tensor(images))
        wanted = torch.as_tensor(labels, dtype=torch.int64)
        spec = spec or _spec_of(store.pixels.numpy(), wanted.numpy(), name=name, augment=augment or AugmentPolicy())
        return cls(spec, store, rows=torch.arange(len(store.pixels)), labels=wanted)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> Images:
        """Return the view that holds only the positions ``index``, in that order; no pixel is copied."""
        return Images(self.spec, self._store, rows=self._rows[index], labels=self.labels[index])

    def joined(self, other: Images) -> Images:
        """Return this view followed by ``other``, a view of the same store."""
        assert self._store is other._store
        return Images(self.spec, self._store, rows=torch.cat([self._rows, other._rows]), labels=torch.cat([self.labels, other.labels]))

    def gather(self, index: Tensor) -> Tensor:
        """Return the images at positions ``index`` (B,), uint8 (B, C, H, W), on the CPU."""
        return self.request(index)()

    def request(self, index: Tensor, *, num_workers: int = 0) -> Pending:
        """Like :meth:`gather`, in two steps: start now, and wait in the call that is returned."""
        return self._store.request(self._rows[index], num_workers=num_workers)


def _spec_of(pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, name: str, augment: AugmentPolicy) -> DataSpec:
    class_names = tuple(str(k) for k in range(int(labels.max()) + 1))
    channels, height, width = pixels.shape[1:]
    mean, std = mean_and_std(*channel_sums(pixels), pixels_per_image=height * width)
    content = pixel_hash(pixels, labels, class_names=class_names)
    return DataSpec(name, class_names, channels, height, width, mean, std, augment, content)
