"""Unpack the images of a tar or zip archive that may be broken or hostile: into one file, under no name of the archive's."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from darts_core.data.decode import MAX_FILE_BYTES, FileRef
from darts_core.data.foreign import HEAD_BYTES
from darts_core.data.listing import Listing

SUFFIXES = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".zip")
BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError)
"""What reading a damaged archive may raise, and one that is compressed in a way nobody here knows."""
_PLAIN = re.compile(r"(?:[^./:\0][^/:\0]*/)*[^./:\0][^/:\0]*")
_DISK_RESERVE_BYTES = 512 * 2**20
_ADVICE = "Nothing was unpacked. Make the archive again from plain files, or point data.root at an unpacked folder that you trust."


class _Pack:
    """The file that the images' bytes are appended to."""

    def __init__(self, path: Path, source: Path) -> None:
        self.path = path
        self.listing = Listing(str(source))
        self._file = open(path, "wb")  # noqa: SIM115 - closed by unpack
        self._room = shutil.disk_usage(path.parent).free - _DISK_RESERVE_BYTES

    def close(self) -> None:
        self._file.close()

    def add(self, name: str, size: int, read: Callable[[int], bytes]) -> None:
        """Append an image, of which ``read`` returns so many bytes. One larger than any image is listed too, and found unreadable later."""
        listing = self.listing
        if not listing.wants(name, lambda: read(min(size, HEAD_BYTES))):
            return
        if name in listing.images:
            raise ValueError(f"data.root: {listing.source} holds '{name}' twice. {_ADVICE}")
        offset = self._file.tell()
        if offset + min(size, MAX_FILE_BYTES) > self._room:
            raise ValueError(
                f"data.root: the images of {listing.source} do not fit on the disk of {self.path.parent}: {offset / 2**20:.0f} MiB are "
                f"unpacked and '{name}' has {size / 2**20:.0f} MiB. Free some space, or check that the archive is what you think."
            )
        if size <= MAX_FILE_BYTES:
            self._file.write(read(size))
        listing.images[name] = FileRef(str(self.path), offset, size)


def is_archive(path: Path) -> bool:
    """Return whether the name says that ``path`` is an archive of a known kind."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, pack: Path) -> Listing:
    """Copy the bytes of all images in ``archive`` to the new file ``pack`` and list them with their places in it.

    Raise ``ValueError`` for an archive that is damaged, cut short, encrypted or larger than the disk, and for a member that is a
    link or device or whose path leads out.
    """
    out = _Pack(pack, archive)
    try:
        if archive.name.lower().endswith(".zip"):
            _unpack_zip(archive, out)
        else:
            _unpack_tar(archive, out)
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        done = len(out.listing.images)
        raise ValueError(
            f"data.root: {archive} is damaged or cut short: {reason} (after {done} images). Copy or download it again."
        ) from None
    except OSError as error:
        raise ValueError(f"data.root: {archive} cannot be unpacked: {error}.") from None
    finally:
        out.close()
    return out.listing


def _unpack_tar(archive: Path, out: _Pack) -> None:
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = _checked(member.name, archive)
            if member.isdir():
                out.listing.add_folder(name)
            elif member.isfile():
                out.add(name, member.size, partial(_read_tar, tar, member))
            else:
                kind = "link" if member.issym() or member.islnk() else "device"
                raise ValueError(f"data.root: {archive} holds '{member.name}', which is a {kind} and not a file. {_ADVICE}")
        # tarfile takes a file that stops between two members for a whole one; a whole one ends with an empty block.
        stream: Any = tar.fileobj
        stream.seek(tar.offset)
        if len(stream.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("the end-of-archive mark is missing")


def _read_tar(tar: tarfile.TarFile, member: tarfile.TarInfo, size: int) -> bytes:
    if member.issparse():
        stream: Any = tar.extractfile(member)
    else:
        stream = tar.fileobj  # where the bytes lie as they are; half the cost of a file object for each
        stream.seek(member.offset_data)
    data: bytes = stream.read(size)
    if len(data) < size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _unpack_zip(archive: Path, out: _Pack) -> None:
    with zipfile.ZipFile(archive) as zip_:
        for info in zip_.infolist():
            name = _checked(info.filename, archive)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"data.root: {archive} holds '{info.filename}', which is a link and not a file. {_ADVICE}")
            if info.flag_bits & 1:
                raise ValueError(f"data.root: {archive} is encrypted ('{info.filename}'). Unpack it yourself and give the folder.")
            if info.is_dir():
                out.listing.add_folder(name)
            else:
                out.add(name, info.file_size, partial(_read_zip, zip_, info))


def _read_zip(zip_: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bytes:
    with zip_.open(info) as stream:
        return stream.read() if size == info.file_size else stream.read(size)  # to the end, where the checksum is looked at


def _checked(name: str, archive: Path) -> str:
    """Return a member's path, cleaned of "./" and backslashes; raise ``ValueError`` where it is absolute or climbs out."""
    path = name.replace("\\", "/")
    if _PLAIN.fullmatch(path) and ".." not in path:
        return path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in parts or "\0" in path:
        raise ValueError(f"data.root: {archive} holds '{name}', a path that leads out of the archive. {_ADVICE}")
    return "/".join(parts)
