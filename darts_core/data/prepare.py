"""The work of the stage prepare_data: collect, split, measure, write; the old output stays until the new one is whole."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darts_core.config import DataConfig, DataSection
from darts_core.data.dataset import DATASETS, PARTS, Collected, Dataset, Progress, Request
from darts_core.data.duplicates import across_splits, describe
from darts_core.data.prepare_text import write_text
from darts_core.data.spec import DataSpec
from darts_core.data.splits import check_covers, stratified
from darts_core.data.statistics import mean_and_std
from darts_core.data.storage import write_folder
from darts_core.data.text import TextSource

log = logging.getLogger(__name__)
_TEST_STREAM, _VALID_STREAM = 0, 1
_OUTS = ("trainval", "test", "spec.json")


def prepare(cfg: DataSection, out: str | Path, *, num_workers: int = 0, progress: Progress | None = None) -> dict[str, float]:
    """Write ``trainval/``, ``test/`` and ``spec.json`` to ``out`` and return counts for the metrics file.

    ``num_workers`` processes decode images; they change no result. ``progress`` is called with (images done, images in all). Everything
    is made in a folder of its own and moved into place at the end, so a failure, which raises ``ValueError`` for anything wrong
    with the images, the text or ``cfg``, leaves an earlier output as it was.
    """
    out = Path(out)
    partial = out / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "work").mkdir(parents=True)
    try:
        source = DATASETS.build(cfg.name, cfg.options)
        if isinstance(source, TextSource):
            metrics = write_text(partial, source, name=cfg.name, valid_fraction=cfg.valid_fraction)
        else:
            assert isinstance(cfg, DataConfig)
            metrics = _write_images(partial, source, cfg, num_workers=num_workers, progress=progress)
        _move(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return metrics


def _write_images(partial: Path, collect: Dataset, cfg: DataConfig, *, num_workers: int, progress: Progress | None) -> dict[str, float]:
    budget = int(cfg.memory_budget_mib * 2**20)
    collected = collect(
        Request(
            budget_bytes=budget,
            workdir=partial / "work",
            skip_unreadable=cfg.unreadable == "skip",
            num_workers=num_workers,
            progress=progress,
        )
    )
    splits = split(collected, cfg)
    spec = _write(partial, collected, splits, name=cfg.name, budget=budget)
    return {**_metrics(spec, collected, splits), "duplicates_across_splits": float(_duplicates(collected, splits))}


def split(collected: Collected, cfg: DataConfig) -> dict[str, NDArray[np.int64]]:
    """Return the positions of the train, valid and test images, each sorted: the data set's own division first, then drawn ones."""
    own = np.asarray(collected.parts)
    names, labels = collected.class_names, collected.labels
    index = {part: np.flatnonzero(own == part) for part in PARTS}
    index["train"] = np.flatnonzero((own == "train") | (own == ""))
    if len(index["test"]):
        if "test_fraction" in cfg.options:
            log.warning("the data set has test images of its own; data.test_fraction (%g) is not used", cfg.options["test_fraction"])
    else:
        assert collected.test_fraction is not None
        key = "data.test_fraction"
        rest, part = stratified(
            labels[index["train"]], collected.test_fraction, seed=(cfg.split_seed, _TEST_STREAM), key=key, class_names=names
        )
        index["train"], index["test"] = index["train"][rest], index["train"][part]
    if len(index["valid"]):
        log.warning("the data set has validation images of its own; data.valid_fraction (%g) is not used", cfg.valid_fraction)
        check_covers(labels[index["valid"]], part="validation", class_names=names, advice="Add some, or remove the folder.")
    elif cfg.valid_fraction > 0.0:
        key = "data.valid_fraction"
        rest, part = stratified(
            labels[index["train"]],
            cfg.valid_fraction,
            seed=(cfg.split_seed, _VALID_STREAM),
            key=key,
            class_names=names,
            advice="Add images, remove the class, or set data.valid_fraction to 0: then the last epoch is taken.",
        )
        index["train"], index["valid"] = index["train"][rest], index["train"][part]
    check_covers(labels[index["train"]], part="training", class_names=names, advice="Add some, or remove the class.")
    check_covers(labels[index["test"]], part="test", class_names=names, advice="Add some, or remove the class.")
    return index


def _write(partial: Path, collected: Collected, splits: dict[str, NDArray[np.int64]], *, name: str, budget: int) -> DataSpec:
    channels, height, width = collected.shape
    train = splits["train"]
    mean, std = mean_and_std(collected.sums[train], collected.squares[train], pixels_per_image=height * width)
    spec = DataSpec(name, collected.class_names, channels, height, width, mean, std, collected.augment, collected.content_hash)
    described = json.dumps([spec.to_dict(), {part: [collected.names[i] for i in index] for part, index in splits.items()}])
    prepared_id = hashlib.sha256(described.encode()).hexdigest()[:16]
    mapped = collected.pixels is not None and collected.pixels.nbytes > budget
    if mapped:
        log.warning("the images exceed data.memory_budget_mib; they will be mapped from the file, not loaded")
    for folder, parts in (("trainval", ("train", "valid")), ("test", ("test",))):
        chosen = {part: splits[part] for part in parts}
        write_folder(partial / folder, collected, chosen, mapped=mapped, prepared_id=prepared_id)
    (partial / "spec.json").write_text(json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return spec


def _move(partial: Path, out: Path) -> None:
    """Put the new outputs in place of the old; ``spec.json`` goes first and comes last, so that half of a change is not opened."""
    (out / "spec.json").unlink(missing_ok=True)
    for name in _OUTS:
        if (out / name).exists():
            (out / name).rename(partial / "work" / name)
        (partial / name).rename(out / name)


def _duplicates(collected: Collected, splits: dict[str, NDArray[np.int64]]) -> int:
    """Count the images of which an earlier split holds an exact copy, and warn of them."""
    ordered = {part: splits[part] for part in PARTS}
    pairs = across_splits(collected.digests, ordered)
    if pairs:
        shown = describe(pairs, collected.names, ordered)
        log.warning(
            "%d images are exact copies of one in another split, so accuracy on them says nothing of new images: %s", len(pairs), shown
        )
    return len(pairs)


def _metrics(spec: DataSpec, collected: Collected, splits: dict[str, NDArray[np.int64]]) -> dict[str, float]:
    counts = {f"images_{part}": float(len(splits[part])) for part in PARTS}
    return {
        **counts,
        "images_skipped": float(collected.num_skipped),
        "num_classes": float(spec.num_classes),
        "channels": float(spec.channels),
        "height": float(spec.height),
        "width": float(spec.width),
    }
