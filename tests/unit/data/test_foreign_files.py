"""Images of a kind, or under an ending, that is not read here: listed or counted, and never left out in silence."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from darts_core.data import prepare
from darts_core.data.foreign import reason

if TYPE_CHECKING:
    from conftest import FolderConfig, MakeFolder, Refused

# Their first bytes are PIL's own, so that a pattern that no real file begins with is found.
KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def head_of(kind: str, tmp_path: Path) -> bytes:
    path = tmp_path / "image"
    Image.new("RGB", (9, 7), (200, 10, 30)).save(path, kind)
    return path.read_bytes()[:16]


def as_heic(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x18ftypheic")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a/one", "a/one.bak", "a/one.1"])
def test_an_image_without_its_ending_is_known_by_its_content(kind: str, name: str, tmp_path: Path) -> None:
    found = reason(name, lambda: head_of(kind, tmp_path))
    assert found is not None
    assert found.upper().startswith(f"{kind} BY ITS CONTENT")


@pytest.mark.parametrize("suffix", [".heic", ".HEIF", ".avif", ".jp2", ".jxl", ".dng"])
def test_an_ending_that_is_not_read_needs_no_look(suffix: str) -> None:
    found = reason(f"a/one{suffix}", lambda: pytest.fail("the file was opened"))
    assert found == f"{suffix} cannot be read here; convert it to PNG or JPEG"


@pytest.mark.parametrize("name", ["notes.txt", "labels.json", "one.xml", "list.CSV", "README.md"])
def test_what_lies_beside_images_is_no_image(name: str, tmp_path: Path) -> None:
    assert reason(name, lambda: pytest.fail("the file was opened")) is None


@pytest.mark.parametrize("head", [b"", b"BMW and others, a list", b"II. The second part", b"RIFF\0\0\0\0WAVEfmt "])
def test_other_content_is_no_image(head: bytes) -> None:
    assert reason("a/one", lambda: head) is None


@pytest.fixture
def mixed(make_folder: MakeFolder) -> Path:
    """Twelve images, a hundred without an ending, fifty that are AVIF, and what may lie about."""
    root = make_folder("cat", "dog")
    for folder in ("cat", "dog"):
        for i in range(50):
            shutil.copy(root / folder / "000.png", root / folder / f"bare{i:02d}")
        for i in range(25):
            (root / folder / f"{i:02d}.avif").write_bytes(b"\0\0\0\x1cftypavif")
        (root / folder / "notes.txt").write_bytes((root / folder / "000.png").read_bytes())
        (root / folder / ".DS_Store").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copy(root / "cat" / "000.png", root / "cover")  # in no class folder
    return root


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz", ".zip"])
def test_they_are_an_error_that_lists_the_first(
    suffix: str, mixed: Path, folder_config: FolderConfig, refused: Refused, tmp_path: Path
) -> None:
    root = mixed
    if suffix:
        kind = {".tar": "tar", ".tar.gz": "gztar", ".zip": "zip"}[suffix]
        root = Path(shutil.make_archive(str(tmp_path / "packed"), kind, mixed))
    refused(
        folder_config(root),
        r"(?s)^150 of 162 images cannot be read\. .*data\.unreadable to skip:\n"
        r"(  (cat|dog)/(\d+\.avif: \.avif cannot be read here; convert .*?|bare\d+: PNG by its content; .*?)\n){20}"
        r"  130 more files of such endings$",
    )


def test_skipped_they_are_counted(mixed: Path, folder_config: FolderConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (mixed / "cat" / "001.png").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        metrics = prepare(folder_config(mixed, unreadable="skip"), tmp_path / "out")
    assert metrics["images_skipped"] == 151
    assert metrics["images_train"] + metrics["images_valid"] + metrics["images_test"] == 11
    assert "skipped cat/001.png: not an image" in caplog.text
    assert "skipped 130 more files of such endings" in caplog.text
    assert "3 files in" in caplog.text, "notes and the cover, which lies in no class folder"


def test_broken_images_are_listed_with_them(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    (root / "dog" / "005.png").write_bytes(b"broken")
    as_heic(root / "cat" / "one.heic")
    refused(folder_config(root), r"(?s)^2 of 13 images .*dog/005\.png: not an image.*cat/one\.heic: \.heic cannot be read here")


@pytest.mark.parametrize("unreadable", ["error", "skip"])
def test_a_class_of_nothing_else_says_how_many(
    unreadable: str, make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused
) -> None:
    root = make_folder("train/cat", "train/dog", "train/cow", "test/cat", "test/dog", "test/cow", count=3)
    for path in (root / "train" / "cow").iterdir():
        path.rename(path.with_suffix(".heic"))
    refused(
        folder_config(root, unreadable=unreadable),
        r"no image in the class folder 'train/cow'; 3 files are images of an ending that cannot be read here \(\.heic\)\. Convert them to "
        r"one of \.jpg.*, add images, or remove the folder\.",
    )


def test_a_pipe_without_an_ending_is_not_waited_for(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("cat", "dog")
    os.mkfifo(root / "cat" / "pipe")
    assert prepare(folder_config(root), tmp_path / "out")["images_skipped"] == 0
