"""The texts of the paper, Penn Treebank and WikiText-2: files that you have, or an archive that is fetched and verified.

The Treebank is licensed and no address of either can be relied on, so none is built in.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from darts_core.data.dataset import DATASETS
from darts_core.data.text import CollectedText, TextSource, read_lines
from darts_core.data.vocabulary import separated_words

_MAX_FILE_BYTES = 2**30
_TIMEOUT_S = 60.0


@DATASETS.register("penn_treebank")
def penn_treebank(
    *, root: str = "data/raw/penn_treebank", url: str | None = None, sha256: str | None = None, reference_split: bool = False
) -> TextSource:
    """Penn Treebank as Mikolov prepared it: 929,000 training words, 10,000 different ones; from ``root``, or an archive at ``url``.

    The files are ptb.train.txt, ptb.valid.txt and ptb.test.txt (or train.txt, valid.txt, test.txt). ``sha256`` is the archive's.
    """
    return _published("ptb.{}.txt", root=root, url=url, sha256=sha256, reference_split=reference_split)


@DATASETS.register("wikitext2")
def wikitext2(
    *, root: str = "data/raw/wikitext2", url: str | None = None, sha256: str | None = None, reference_split: bool = False
) -> TextSource:
    """WikiText-2 (Merity et al., arXiv:1609.07843): 2.1 M training words, 33,278 different; from ``root``, or an archive at ``url``.

    The files are wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens (or train.txt, ...). ``sha256`` is the archive's.
    """
    return _published("wiki.{}.tokens", root=root, url=url, sha256=sha256, reference_split=reference_split)


def _published(pattern: str, *, root: str, url: str | None, sha256: str | None, reference_split: bool) -> TextSource:
    if sha256 is not None and url is None:
        raise ValueError("data.sha256 is of the archive at data.url, which is not given. Give both, or leave data.sha256 out.")

    def collect(workdir: Path) -> CollectedText:
        names = {part: (pattern.format(part), f"{part}.txt") for part in ("train", "valid", "test")}
        if url is not None and not all(_find(Path(root), each) for each in names.values()):
            _fetch(url, sha256, names=[name for each in names.values() for name in each], into=Path(root), workdir=workdir)
        parts = {}
        for part, each in names.items():
            if (path := _find(Path(root), each)) is None:
                raise ValueError(f"data.root: {root} has no file {' or '.join(each)}. Put it there, or give an archive as data.url.")
            parts[part] = [read_lines(path, encoding="utf-8")]
        return CollectedText(parts=parts, test_fraction=None, source=f"data.root: {root}")

    return TextSource(
        collect=collect, tokenise=separated_words, unit="word", vocabulary_size=None, min_count=1, reference_split=reference_split
    )


def _find(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def _fetch(url: str, sha256: str | None, *, names: list[str], into: Path, workdir: Path) -> None:
    """Download the archive at ``url``, verify it and copy the files of these ``names`` out of it, whatever folders they are in."""
    archive = workdir / "archive"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as source, archive.open("wb") as out:  # noqa: S310 - the user's own address
            shutil.copyfileobj(source, out)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(f"data.url: {url} cannot be fetched ({reason}). Check the address, or copy the files to {into} by hand.") from None
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(f"data.sha256: {sha256} expected. The archive at {url} has {found}. It is damaged, or another one.")
    copied = 0
    into.mkdir(parents=True, exist_ok=True)
    for name, content in _members(archive, names, url):
        partial = workdir / name
        partial.write_bytes(content)
        shutil.move(partial, into / name)
        copied += 1
    if not copied:
        raise ValueError(f"data.url: the archive at {url} holds none of {', '.join(names)}.")


def _members(archive: Path, names: list[str], url: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files that are wanted; a member's folders are left out, so that none can lead anywhere."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for info in zipped.infolist():
                    if (name := PurePosixPath(info.filename).name) in names and info.file_size <= _MAX_FILE_BYTES:
                        yield name, zipped.read(info)
            return
        with tarfile.open(archive) as tar:
            for member in tar:
                if (name := PurePosixPath(member.name).name) in names and member.isfile() and member.size <= _MAX_FILE_BYTES:
                    stream = tar.extractfile(member)
                    assert stream is not None
                    yield name, stream.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"data.url: what {url} gave is no .zip or .tar archive, or is damaged ({error}).") from None
