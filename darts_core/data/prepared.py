"""Prepared data, as the later stages see them; the test images are not touched before they are asked for."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from darts_core.data.images import Images
from darts_core.data.spec import DataSpec
from darts_core.data.splits import stratified
from darts_core.data.storage import read_folder, read_storage

_SEARCH_STREAM = 2
_SHARE_STREAM = 3


class Prepared:
    """The outcome of prepare_data at ``root``: ``spec``, and each split as :class:`Images`."""

    def __init__(self, root: Path, spec: DataSpec) -> None:
        self.root = root
        self.spec = spec

    @cached_property
    def _trainval(self) -> dict[str, Images]:
        return read_folder(self.root / "trainval", self.spec)

    def train(self) -> Images:
        """Return the images to learn from."""
        return self._trainval["train"]

    @property
    def has_valid(self) -> bool:
        """Whether there are validation images: ``data.valid_fraction`` may be 0."""
        return len(self._trainval["valid"]) > 0

    def valid(self) -> Images:
        """Return the images to choose by. Raise ``ValueError`` if ``data.valid_fraction`` kept none."""
        valid = self._trainval["valid"]
        if not len(valid):
            raise ValueError("There are no validation images: data.valid_fraction is 0 in params.yaml. Set it to 0.1, say.")
        return valid

    def trainval(self) -> Images:
        """Return training and validation images together."""
        train, valid = self._trainval["train"], self._trainval["valid"]
        return train.joined(valid)

    def test(self) -> Images:
        """Return the held-out images; they are read here and nowhere else."""
        ours, theirs = (read_storage(self.root / part)["prepared_id"] for part in ("trainval", "test"))
        if ours != theirs:
            raise ValueError(f"{self.root}: trainval/ and test/ come from two different runs. Run: dvc repro -f prepare_data.")
        return read_folder(self.root / "test", self.spec)["test"]

    def search_splits(self, train_portion: float, *, seed: int, fraction: float = 1.0) -> tuple[Images, Images]:
        """Divide the training images, class by class, into those for the weights (``train_portion``) and those for alpha.

        Below 1 ``fraction`` is the share of each class that is used at all, drawn by ``seed``. Raise ``ValueError`` where a class has,
        or keeps, fewer than the two images that it takes.
        """
        train = self.train()
        advice = "Add images or remove the class."
        if self.has_valid:
            advice = "Add images, remove the class, or keep fewer for validation (data.valid_fraction, 0 for none)."
        if fraction < 1.0:
            train = self._share(train, fraction, seed=seed, advice=advice)
        weights, alpha = stratified(
            train.labels.numpy(),
            1.0 - train_portion,
            seed=(seed, _SEARCH_STREAM),
            key="search.train_portion",
            class_names=self.spec.class_names,
            advice=advice,
        )
        return train.subset(torch.from_numpy(weights)), train.subset(torch.from_numpy(alpha))

    def _share(self, images: Images, fraction: float, *, seed: int, advice: str) -> Images:
        labels, names = images.labels.numpy(), self.spec.class_names
        _, used = stratified(labels, fraction, seed=(seed, _SHARE_STREAM), key="search.data_fraction", class_names=names, advice=advice)
        short = [f"'{name}' ({count})" for name, count in zip(names, np.bincount(labels[used], minlength=len(names))) if count < 2]
        if short:
            fewest = int(np.bincount(labels).min())
            # A share is rounded to the nearest count, but never to all images: of two images only the whole share is two.
            least = 1.0 if fewest == 2 else math.ceil(1e4 * 1.5 / fewest) / 1e4
            raise ValueError(
                f"search.data_fraction: {fraction:g} leaves too few images to search on, of each class 2 at least (for weights and alpha). "
                f"Too few in {', '.join(short)}. Set it to {least:g} or more."
            )
        return images.subset(torch.from_numpy(used))


def open_prepared(root: str | Path) -> Prepared:
    """Open what :func:`darts_core.data.prepare` wrote to ``root``. Raise ``ValueError`` where there is nothing, or half of it."""
    path = Path(root) / "spec.json"
    try:
        spec = DataSpec.from_dict(json.loads(path.read_text(encoding="utf-8")), source=str(path))
    except OSError:
        raise ValueError(f"{path} is missing: the data are not prepared. Run: dvc repro prepare_data.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}). Run: dvc repro -f prepare_data.") from None
    return Prepared(Path(root), spec)
