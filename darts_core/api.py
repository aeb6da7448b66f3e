"""The search as a function, for those who have data loaders of their own and want no pipeline around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darts_core.components import COMPONENTS, build_method, build_space, cross_check, load_params
from darts_core.config import Config, ConfigError, from_mapping
from darts_core.engine.loop import Loader
from darts_core.engine.search import SearchData, search
from darts_core.engine.search_result import SearchResult
from darts_core.runtime.device import resolve
from darts_core.runtime.seed import seeded, stream

_SINGLE_VALUE = "Expected more than 1 value per channel when training"  # torch's own words, of BatchNorm


def search_architecture(
    train_loader: Loader,
    valid_loader: Loader,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    *,
    device: str = "auto",
    verbose: bool = True,
    num_classes: int | None = None,
) -> SearchResult:
    """Search a cell on the images that two loaders yield; return its genotype, both cells, accuracies and history.

    ``train_loader`` moves the weights, ``valid_loader`` the architecture parameters, and accuracy is reported on it; both yield batches
    of normalised float32 images (B, C, H, W) and labels (B,), int64 from 0, anew in every iteration, and have a length. ``config`` is a
    ``Config``, the path of a ``params.yaml`` or a mapping of its sections, of which ``seed``, ``space``, ``method`` and ``search`` count
    (what batches are, the loaders decide); None takes the reference's settings. Without ``num_classes`` the labels of one pass over both
    loaders tell it.
    Raise ``ConfigError`` for a fault in ``config``, ``ValueError`` for batches of another form, labels outside the classes or a batch of
    one image that BatchNorm cannot train on,
    ``TrainingError`` where training diverges.
    """
    cfg = _config(config)
    place = resolve(device)
    batch_shape = _batch_shape(train_loader, "train_loader")
    channels = batch_shape[1]
    valid_shape = _batch_shape(valid_loader, "valid_loader")
    if valid_shape[1] != channels:
        raise ValueError(f"valid_loader: images of {channels} channels expected, as train_loader has them.")
    classes = _num_classes(num_classes, train_loader, valid_loader)
    train, valid = _Checked(train_loader, "train_loader", classes), _Checked(valid_loader, "valid_loader", classes)
    space, method = build_space(cfg), build_method(cfg)
    with seeded(cfg.seed, "search weights"):
        supernet = method.supernet(
            space,
            in_channels=channels,
            num_classes=classes,
            generator=stream(cfg.seed, "search alphas"),
        )
    with _no_single_values():
        return search(
            supernet,
            method,
            space=space,
            data=SearchData(batch_shape=max(batch_shape, valid_shape), train=train, valid=_endless(valid), held_out=valid),
            cfg=cfg.search,
            device=place,
            progress="auto" if verbose else "off",
            generator=stream(cfg.seed, "search perturbation"),
        )


class _Checked:
    """A loader whose labels are looked at: a GPU would abort at one outside the classes, and cross entropy leaves -100 out in silence."""

    def __init__(self, loader: Loader, name: str, num_classes: int) -> None:
        self._loader = loader
        self._name = name
        self._num_classes = num_classes

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for images, labels in self._loader:
            if int(labels.min()) < 0 or int(labels.max()) >= self._num_classes:
                raise ValueError(
                    f"{self._name}: labels 0 to {self._num_classes - 1} expected. Got {int(labels.min())} to {int(labels.max())}. "
                    "Number the classes from 0, or correct num_classes."
                )
            yield images, labels


@contextmanager
def _no_single_values() -> Iterator[None]:
    """Say in the words of a loader what BatchNorm cannot train on."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_SINGLE_VALUE):
            raise
        raise ValueError(
            "train_loader, valid_loader: batches of at least two images expected, where cells of one pixel leave BatchNorm a single value "
            "a channel. Got a batch of one. Use drop_last=True, or another batch size."
        ) from None


def _config(config: Config | Mapping[str, Any] | str | Path | None) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, str | Path):
        return load_params(config)
    sections = dict(config or {})
    sections.setdefault("data", {"name": "digits"})  # a section that the loaders stand in for
    return from_mapping(sections, components=COMPONENTS, cross_check=partial(cross_check, only_search=True))


def _first(loader: Iterable[Any], name: str) -> tuple[Tensor, Tensor]:
    if isinstance(loader, Iterator) or not isinstance(loader, Sized):
        raise ValueError(f"{name}: a loader that has a length and can be iterated again and again expected. Got {type(loader).__name__}.")
    for batch in loader:
        if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
            raise ValueError(f"{name}: batches of (images, labels), two tensors, expected. Got {type(batch).__name__}.")
        images, labels = batch
        return images, labels
    raise ValueError(f"{name}: at least one batch expected. Got none.")


def _batch_shape(loader: Iterable[Any], name: str) -> tuple[int, int, int, int]:
    images, labels = _first(loader, name)
    if images.ndim != 4 or images.dtype != torch.float32 or labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"{name}: float32 images (B, C, H, W) and int64 labels (B,) expected. Got {images.dtype} {tuple(images.shape)} and "
            f"{labels.dtype} {tuple(labels.shape)}. Convert them with images.float() and labels.long()."
        )
    batch, channels, height, width = images.shape
    return batch, channels, height, width


def _num_classes(given: int | None, *loaders: Iterable[Any]) -> int:
    if given is None:
        return 1 + max(int(labels.max()) for loader in loaders for _, labels in loader)
    if given < 1:
        raise ValueError(f"num_classes must be at least 1, or None to take it from the labels. Got {given}.")
    return given


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


__all__ = ["ConfigError", "SearchResult", "search_architecture"]
