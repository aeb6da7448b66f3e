"""Archives that are broken or hostile: one clear error each, and nothing half-written."""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from darts_core.data import archive as archive_module
from darts_core.data import decode as decode_module

if TYPE_CHECKING:
    from conftest import FolderConfig, MakeFolder, Refused

PNG = io.BytesIO()
Image.new("RGB", (8, 8)).save(PNG, "PNG")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_a_truncated_tar(
    mode: str, share: float, make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused, tmp_path: Path
) -> None:
    path = tmp_path / f"cut.tar{mode[1:].replace(':', '.')}"
    with tarfile.open(path, mode) as tar:
        tar.add(make_folder("cat", "dog", size=(32, 32)), arcname=".")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(folder_config(path), "is damaged or cut short")


def test_a_tar_cut_exactly_between_two_members(
    make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused, tmp_path: Path
) -> None:
    path = tmp_path / "cut.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(make_folder("cat", "dog"), arcname=".")
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])
    refused(folder_config(path), "the end-of-archive mark is missing")


def test_a_truncated_zip_and_a_damaged_one(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    path = Path(shutil.make_archive(str(root), "zip", root))
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    refused(folder_config(path), "is damaged or cut short")
    place = data.index(b"IDAT") + 20
    path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
    refused(folder_config(path), "is damaged or cut short")


def test_no_archive_at_all(folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    for name in ("a.tar", "a.tar.xz", "a.zip", "a.tgz"):
        (tmp_path / name).write_bytes(b"<html>404 not found</html>" * 100)
        refused(folder_config(tmp_path / name), "is damaged or cut short")


ESCAPES = ["../cat/x.png", "cat/../../x.png", "/etc/x.png", "C:/cat/x.png", "..\\cat\\x.png", "\\\\host\\x.png"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_path_that_leads_out(name: str, kind: str, folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / f"evil.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(PNG.getvalue())
            tar.addfile(member, io.BytesIO(PNG.getvalue()))
    else:
        with zipfile.ZipFile(path, "w") as zip_:
            zip_.writestr(zipfile.ZipInfo(name), PNG.getvalue())
    refused(folder_config(path), "a path that leads out of the archive. Nothing was unpacked")


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar(type_: bytes, folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        member = tarfile.TarInfo("cat/x.png")
        member.type, member.linkname = type_, "/etc/passwd"
        tar.addfile(member)
    expected = "link" if type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "device"
    refused(folder_config(tmp_path / "evil.tar"), f"'cat/x.png', which is a {expected} and not a file")


def test_a_link_in_a_zip(folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as zip_:
        info = zipfile.ZipInfo("cat/x.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zip_.writestr(info, "/etc/passwd")
    refused(folder_config(tmp_path / "evil.zip"), "'cat/x.png', which is a link and not a file")


def test_an_encrypted_zip(make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused) -> None:
    root = make_folder("cat", "dog")
    path = Path(shutil.make_archive(str(root), "zip", root))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # flags of the last entry of the directory
    data[entry + 8] |= 1
    path.write_bytes(bytes(data))
    refused(folder_config(path), "is encrypted")


def test_a_member_that_comes_twice(folder_config: FolderConfig, refused: Refused, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for name in ("cat/x.png", "./cat/x.png"):
            member = tarfile.TarInfo(name)
            member.size = len(PNG.getvalue())
            tar.addfile(member, io.BytesIO(PNG.getvalue()))
    refused(folder_config(tmp_path / "twice.tar"), "holds 'cat/x.png' twice")


def test_an_archive_that_does_not_fit_on_the_disk(
    make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder("cat", "dog")
    path = shutil.make_archive(str(root), "gztar", root)
    monkeypatch.setattr(archive_module, "_DISK_RESERVE_BYTES", 10**18)
    refused(folder_config(path), "do not fit on the disk")


def test_a_member_larger_than_any_image(
    make_folder: MakeFolder, folder_config: FolderConfig, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder("cat", "dog")
    (root / "dog" / "huge.png").write_bytes(bytes(5000))
    path = shutil.make_archive(str(root), "gztar", root)
    for module in (archive_module, decode_module):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 4000)
    refused(folder_config(path), r"(?s)1 of 13 images cannot be read.*dog/huge\.png: the file is larger than")
