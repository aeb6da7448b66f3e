from __future__ import annotations

import json
import logging
import os
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from darts_core.data import AugmentPolicy, Batches, open_prepared, prepare, reading
from darts_core.data.archive import SUFFIXES

if TYPE_CHECKING:
    from conftest import FolderConfig, MakeFolder

SHARED = Path(__file__).parents[4] / "shared" / "data" / "cifar10-jpeg.tar.xz"


def names(out: Path, part: str) -> list[str]:
    folder = "test" if part == "test" else "trainval"
    return json.loads((out / folder / "splits.json").read_text())[part]


def archived(folder: Path, suffix: str, *, top: str = "") -> Path:
    """Pack ``folder`` under the folder name ``top`` inside the archive."""
    archive = folder.parent / f"photos{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_:
            for path in sorted(folder.rglob("*"), reverse=True):
                zip_.write(path, os.path.join(top, path.relative_to(folder)))
        return archive
    mode = {"x": "w:xz", "t": "w:xz", "g": "w:gz", "b": "w:bz2"}.get(suffix.rpartition(".")[2][0], "w")
    mode = {".tar": "w", ".tgz": "w:gz", ".tbz2": "w:bz2"}.get(suffix, mode)
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, arcname=top or ".")
    return archive


def test_class_folders_are_split_with_every_image_in_one_part(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("cat", "dog", count=20)
    metrics = prepare(folder_config(root, valid_fraction=0.25), tmp_path / "out")
    assert {key: metrics[key] for key in ("images_train", "images_valid", "images_test")} == {
        "images_train": 24,
        "images_valid": 8,
        "images_test": 8,
    }
    everything = [name for part in ("train", "valid", "test") for name in names(tmp_path / "out", part)]
    assert sorted(everything) == sorted(f"{kind}/{i:03d}.png" for kind in ("cat", "dog") for i in range(20))
    data = open_prepared(tmp_path / "out")
    assert data.spec.class_names == ("cat", "dog")
    for images, part in ((data.train(), "train"), (data.valid(), "valid"), (data.test(), "test")):
        for i, name in enumerate(names(tmp_path / "out", part)):
            expected = np.asarray(Image.open(root / name)).transpose(2, 0, 1)
            np.testing.assert_array_equal(images.gather(torch.tensor([i]))[0].numpy(), expected)
            assert data.spec.class_names[images.labels[i]] == name.split("/")[0]


@pytest.mark.parametrize("spelling", ["val", "valid", "Validation"])
def test_own_splits_are_respected(
    spelling: str, make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder("train/a", "train/b", f"{spelling}/a", f"{spelling}/b", "test/a", "test/b", count=3)
    with caplog.at_level(logging.WARNING):
        prepare(folder_config(root), tmp_path / "out")
        assert "data.test_fraction" not in caplog.text, "nobody has set it"
        prepare(folder_config(root, test_fraction=0.3), tmp_path / "out")
    assert "data.test_fraction (0.3) is not used" in caplog.text
    assert names(tmp_path / "out", "train") == [f"train/{k}/00{i}.png" for k in "ab" for i in range(3)]
    assert names(tmp_path / "out", "valid") == [f"{spelling}/{k}/00{i}.png" for k in "ab" for i in range(3)]
    assert names(tmp_path / "out", "test") == [f"test/{k}/00{i}.png" for k in "ab" for i in range(3)]
    assert "data.valid_fraction (0.1) is not used" in caplog.text


def test_without_a_valid_folder_some_of_train_is_taken(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("train/a", "train/b", "test/a", "test/b", count=10)
    prepare(folder_config(root, valid_fraction=0.2), tmp_path / "out")
    assert (len(names(tmp_path / "out", "train")), len(names(tmp_path / "out", "valid"))) == (16, 4)
    assert all(name.startswith("test/") for name in names(tmp_path / "out", "test"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("top", ["", "my photos/v2"])
def test_an_archive_equals_its_folder(suffix: str, top: str, make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("train/a", "train/b", "test/a", "test/b", count=4)
    prepare(folder_config(root), tmp_path / "one")
    prepare(folder_config(archived(root, suffix, top=top)), tmp_path / "two")
    one, two = open_prepared(tmp_path / "one"), open_prepared(tmp_path / "two")
    assert one.spec == two.spec
    assert torch.equal(one.train().gather(torch.arange(6)), two.train().gather(torch.arange(6)))


@pytest.mark.parametrize("from_archive", [False, True])
def test_files_decoded_lazily_equal_arrays(
    from_archive: bool, make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path
) -> None:
    root = make_folder("a", "b", count=12, size=(23, 17))
    root = archived(root, ".tar.gz") if from_archive else root
    options = {"image_size": 9, "channels": 1}
    prepare(folder_config(root, **options), tmp_path / "arrays")
    prepare(folder_config(root, **options, memory_budget_mib=1e-4), tmp_path / "files")
    assert not (tmp_path / "files" / "trainval" / "images.npy").exists()
    assert (tmp_path / "files" / "trainval" / "images.pack").exists() == from_archive
    one, two = open_prepared(tmp_path / "arrays"), open_prepared(tmp_path / "files")
    assert (one.spec.mean, one.spec.std, one.spec.augment) == (two.spec.mean, two.spec.std, two.spec.augment)
    for part in ("train", "valid", "test", "trainval"):
        left, right = getattr(one, part)(), getattr(two, part)()
        index = torch.arange(len(left)).flip(0)
        assert torch.equal(left.gather(index), right.gather(index))
        assert torch.equal(left.labels, right.labels)


def test_the_number_of_workers_changes_no_batch(
    make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder("a", "b", count=20)
    monkeypatch.chdir(tmp_path)
    prepare(folder_config("photos", memory_budget_mib=1e-4), "out")
    assert ",photos/a/" in (tmp_path / "out/trainval/manifest.csv").read_text().replace("\n", ",")
    train = open_prepared("out").train()

    def epochs(num_workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(0)
        batches = Batches(train, 4, shuffle=True, policy=AugmentPolicy(1, True, 4), generator=generator, num_workers=num_workers)
        return [*batches, *batches]

    for (x, y), (u, v) in zip(epochs(0), epochs(2), strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


@pytest.mark.parametrize("budget", [4096, 1e-4])
def test_preparing_in_processes_equals_preparing_here(
    budget: float, make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder("a", "b", count=30)
    (root / "b" / "007.png").write_bytes(b"broken")
    monkeypatch.setattr(reading, "PARALLEL_FROM_BYTES", 0)
    monkeypatch.setattr(reading, "_CHUNK_FILES", 7)
    cfg = folder_config(root, unreadable="skip", memory_budget_mib=budget)
    assert prepare(cfg, tmp_path / "one") == prepare(cfg, tmp_path / "two", num_workers=2)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_a_file_that_changed_since_is_named(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("a", "b")
    prepare(folder_config(root, memory_budget_mib=1e-5), tmp_path / "out")
    for path in root.rglob("*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(ValueError, match=r"photos/a/00\d.png: not an image.* run prepare_data again"):
        open_prepared(tmp_path / "out").train().gather(torch.tensor([0]))


def test_channels_auto(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    grey = make_folder("a", "b", mode="L", root="grey")
    prepare(folder_config(grey), tmp_path / "one")
    prepare(folder_config(grey, channels=3), tmp_path / "three")
    assert (open_prepared(tmp_path / "one").spec.channels, open_prepared(tmp_path / "three").spec.channels) == (1, 3)
    make_folder("b", count=1, root="grey")
    prepare(folder_config(grey), tmp_path / "mixed")
    assert open_prepared(tmp_path / "mixed").spec.channels == 3


def test_the_default_policy_follows_the_size(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    prepare(folder_config(make_folder("a", "b"), image_size=32), tmp_path / "out")
    assert open_prepared(tmp_path / "out").spec.augment == AugmentPolicy(crop_padding=4, flip=True, cutout_length=16)


def test_what_systems_leave_behind_is_ignored(
    make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder("a", "b", ".git/objects", "__MACOSX/a", count=5)
    for name in ("a/._000.png", ".DS_Store", "b/Thumbs.db", "README.md", "a/notes.txt"):
        (root / name).write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        metrics = prepare(folder_config(root), tmp_path / "out")
    assert metrics["images_train"] + metrics["images_valid"] + metrics["images_test"] == 10
    assert "2 files in" in caplog.text


def test_links_and_deeper_folders_count(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder("a/monday", "a/tuesday", "b", count=4)
    other = make_folder("elsewhere", count=5, root="other", seed=1)
    (root / "c").symlink_to(other / "elsewhere")
    (root / "a" / "loop").symlink_to(root)
    metrics = prepare(folder_config(root), tmp_path / "out")
    assert metrics["num_classes"] == 3
    assert metrics["images_train"] + metrics["images_valid"] + metrics["images_test"] == 17


def test_unreadable_images_can_be_skipped(
    make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder("a", "b")
    (root / "a" / "000.png").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        metrics = prepare(folder_config(root, unreadable="skip"), tmp_path / "out")
    assert metrics["images_skipped"] == 1
    assert "skipped a/000.png: not an image" in caplog.text
    assert metrics["images_train"] + metrics["images_valid"] + metrics["images_test"] == 11


def test_odd_file_names(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    root = make_folder('größe, "x"', "b\udcff", count=4)
    prepare(folder_config(root, memory_budget_mib=1e-5), tmp_path / "out")
    data = open_prepared(tmp_path / "out")
    assert data.spec.class_names == ("b\ufffd", 'größe, "x"')
    assert len(data.train().gather(torch.arange(len(data.train())))) == len(data.train())


def test_the_hash_ignores_where_the_images_lie(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    one, two = make_folder("a", "b", root="one"), make_folder("a", "b", root="two")
    other = make_folder("a", "b", root="three", seed=1)
    hashes = []
    for i, (root, seed) in enumerate([(one, 0), (two, 1), (other, 0)]):
        prepare(folder_config(root, split_seed=seed), tmp_path / str(i))
        hashes.append(open_prepared(tmp_path / str(i)).spec.content_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_progress_ends_with_all(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare(folder_config(make_folder("a", "b")), tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (12, 12)


@pytest.mark.skipif(not SHARED.exists(), reason=f"needs {SHARED.name} in ../shared/data")
def test_part_of_a_real_archive(folder_config: FolderConfig, tmp_path: Path) -> None:
    """The first 3,000 members of CIFAR-10 as JPEG, all of one class, which is made two."""
    small = tmp_path / "small.tar"
    with tarfile.open(SHARED) as source, tarfile.open(small, "w") as out:
        for number, member in enumerate(source):
            if number == 3000:
                break
            if member.isfile():
                member.name = member.name.replace("train/", "").replace("airplane", f"plane_{number % 2}")
                out.addfile(member, source.extractfile(member))
    metrics = prepare(folder_config(small), tmp_path / "out")
    spec = open_prepared(tmp_path / "out").spec
    assert (metrics["images_skipped"], spec.class_names) == (0, ("plane_0", "plane_1"))
    np.testing.assert_allclose(spec.mean, (0.525, 0.560, 0.589), atol=0.01)
