"""The same image in two splits is counted and named, however it came to be there."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from darts_core.config import DataConfig
from darts_core.data import prepare, reading
from darts_core.data.duplicates import across_splits, describe, image_digests

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import FolderConfig, MakeFolder

KEY = "duplicates_across_splits"


def test_pairs_equal_those_of_a_comparison_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (90, 1, 2, 3), dtype=np.uint8)
    order = rng.permutation(90)
    splits = {"train": order[:50], "valid": order[50:60], "test": order[60:]}
    expected, earlier = [], []
    for index in splits.values():
        for i in index:
            copies = [j for j in earlier if (pixels[i] == pixels[j]).all()]
            expected += [(i, copies[0])] if copies else []
        earlier += list(index)
    assert 0 < len(expected) < 40
    assert across_splits(image_digests(pixels), splits) == expected


def test_digests_tell_one_pixel_and_ignore_how_it_lies_in_memory() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    before = image_digests(pixels)
    assert before == image_digests(np.ascontiguousarray(pixels))
    changed = pixels.copy()
    changed[1, 2, 4, 3] ^= 1
    assert [a == b for a, b in zip(before, image_digests(changed), strict=True)] == [True, False, True]


def test_the_first_five_are_shown() -> None:
    splits = {"train": np.arange(1), "test": np.arange(1, 8)}
    pairs = across_splits([b"same"] * 8, splits)
    text = describe(pairs, [f"n{i}" for i in range(8)], splits)
    assert text.startswith("test 'n1' = train 'n0', test 'n2' = ")
    assert text.endswith("test 'n5' = train 'n0' and 2 more")


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("budget", [4096, 1e-4], ids=["arrays", "files"])
def test_copies_are_found_under_any_name_and_format(
    budget: float,
    num_workers: int,
    make_folder: MakeFolder,
    folder_config: FolderConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "PARALLEL_FROM_BYTES", 0)
    monkeypatch.setattr(reading, "_CHUNK_FILES", 5)
    root = make_folder("train/a", "train/b")
    make_folder("val/a", "val/b", "test/a", "test/b", root="photos", seed=1, count=3)
    for kind in "ab":
        for i in range(3):  # the fixture draws the same images for val and test as for one another
            image = Image.open(root / "test" / kind / f"00{i}.png")
            image.point(lambda value: 255 - value).save(root / "test" / kind / f"00{i}.png")
    config = folder_config(root, memory_budget_mib=budget)
    before = prepare(config, tmp_path / "out", num_workers=num_workers)[KEY]
    caplog.clear()
    shutil.copy(root / "train" / "a" / "001.png", root / "train" / "a" / "twin.png")  # within a split it is no matter
    Image.open(root / "train" / "a" / "001.png").save(root / "test" / "b" / "other.bmp")
    shutil.copy(root / "train" / "b" / "002.png", root / "val" / "b" / "x.png")
    with caplog.at_level(logging.WARNING):
        metrics = prepare(config, tmp_path / "out", num_workers=num_workers)
    assert (before, metrics[KEY]) == (0, 2)
    assert "2 images are exact copies of one in another split" in caplog.text
    assert "valid 'val/b/x.png' = train 'train/b/002.png', test 'test/b/other.bmp' = train 'train/a/001.png'" in caplog.text


def test_data_without_copies_give_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert prepare(DataConfig(name="digits"), tmp_path)[KEY] == 0
    assert "copies" not in caplog.text
