"""Everything that can be wrong with a user's folder of images: one clear error each, and nothing half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import FolderConfig, MakeFolder, Refused


def empty_class(root: Path) -> None:
    (root / "cow").mkdir()


def class_without_images(root: Path) -> None:
    (root / "cow").mkdir()
    (root / "cow" / "notes.txt").write_text("moo")


def one_class(root: Path) -> None:
    shutil.rmtree(root / "dog")


def no_images(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.rename(path.with_suffix(".npy"))


def only_loose_images(root: Path) -> None:
    for kind in ("cat", "dog"):
        for path in (root / kind).iterdir():
            path.rename(root / f"{kind}_{path.name}")
        (root / kind).rmdir()


def a_loose_image(root: Path) -> None:
    shutil.copy(root / "cat" / "000.png", root / "stray.png")


def too_few_for_test(root: Path) -> None:
    for i in range(1, 6):
        (root / "dog" / f"00{i}.png").unlink()


def too_few_for_valid(root: Path) -> None:
    for i in range(2, 6):
        (root / "dog" / f"00{i}.png").unlink()


def unreadable(root: Path) -> None:
    (root / "cat" / "001.png").write_bytes(b"")
    (root / "dog" / "003.png").write_bytes((root / "dog" / "003.png").read_bytes()[:-40])
    (root / "dog" / "005.png").unlink()
    (root / "dog" / "005.png").symlink_to("nowhere.png")


def all_unreadable(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(b"?")


def sizes_differ(root: Path) -> None:
    Image.new("RGB", (9, 8)).save(root / "dog" / "002.png")


def no_train(root: Path) -> None:
    (root / "cat").rename(root / "test")


def unknown_class_in_test(root: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(root / "cat", root / part / "cat")
        shutil.copytree(root / "dog", root / part / "dog")
    (root / "test" / "dog").rename(root / "test" / "Dog")
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


def class_missing_in_test(root: Path) -> None:
    unknown_class_in_test(root)
    shutil.rmtree(root / "test" / "Dog")


def classes_beside_splits(root: Path) -> None:
    shutil.copytree(root / "cat", root / "train" / "cat")


def two_valid_folders(root: Path) -> None:
    for part in ("train", "val", "valid"):
        shutil.copytree(root / "cat", root / part / "cat")
        shutil.copytree(root / "dog", root / part / "dog")
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


BAD: list[tuple[Callable[[Path], None], str]] = [
    (empty_class, r"data\.root: .*photos: no image in the class folder 'cow'\. Add images, or remove the folder"),
    (class_without_images, "no image in the class folder 'cow'"),
    (one_class, r"photos holds one class only \('cat'\)"),
    (no_images, r"holds no images \(12 files of other kinds; 12 files are images of an .* here \(\.npy\)\)\. .*Known endings: \.jpg"),
    (only_loose_images, r"12 images lie in no class folder: 'cat_000\.png'.* and 7 more\. Expected <class>/<image>"),
    (a_loose_image, r"1 images lie in no class folder: 'stray\.png'"),
    (too_few_for_test, r"data\.test_fraction: every class needs at least 2 images .* Too few in 'dog' \(1\)"),
    (too_few_for_valid, r"data\.valid_fraction: every class needs at least 2 images .* Too few in 'dog' \(1\)"),
    (unreadable, r"(?s)3 of 12 images cannot be read.*data\.unreadable.*cat/001\.png: not an.*dog/003\.png: .*dog/005\.png: No such file"),
    (all_unreadable, "12 of 12 images cannot be read"),
    (sizes_differ, r"not of one size: cat/000\.png is 8x8, dog/002\.png is 9x8 \(1 of 12 differ\)\. Set data\.image_size"),
    (no_train, "has 'test' but no train/"),
    (unknown_class_in_test, r"'test/Dog' is a class that train/ does not have\. Classes there: 'cat', 'dog'"),
    (class_missing_in_test, r"No image of 'dog' in the test split"),
    (classes_beside_splits, r"has 'cat', 'dog' beside 'train': classes and splits are mixed"),
    (two_valid_folders, "two folders for one split among 'train', 'val', 'valid'"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_a_bad_folder(
    spoil: Callable[[Path], None], message: str, make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused
) -> None:
    root = make_folder("cat", "dog")
    spoil(root)
    refused(folder_config(root), message)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_bad_folder_in_an_archive(suffix: str, make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    empty_class(root)
    shutil.make_archive(str(root), suffix[1:], root)
    refused(folder_config(f"{root}{suffix}"), "no image in the class folder 'cow'")


def test_nothing_readable_and_all_skipped(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    all_unreadable(root)
    refused(folder_config(root, unreadable="skip"), "None of the 12 images under data.root can be read")


def test_a_class_that_is_empty_after_skipping(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    all_unreadable(root / "dog")
    refused(folder_config(root, unreadable="skip"), r"Too few in 'dog' \(0\)")


def test_a_missing_root(folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    refused(folder_config(tmp_path / "nowhere"), r"data\.root: .*nowhere does not exist")


def test_a_root_that_is_neither_folder_nor_archive(folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "images.rar").write_bytes(b"Rar!")
    refused(folder_config(tmp_path / "images.rar"), r"neither a folder nor an archive \(\.tar")


@pytest.mark.skipif(os.getuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    (root / "dog").chmod(0)
    refused(folder_config(root), "cannot be listed")


@pytest.mark.parametrize(("option", "value"), [("image_size", 0), ("test_fraction", 0.0), ("test_fraction", 1.0)])
def test_options_out_of_range(option: str, value: float, make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    refused(folder_config(make_folder("a", "b"), **{option: value}), rf"data\.{option} must")
