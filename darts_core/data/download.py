"""Fetch one file: verified, and where a checksum is known a download that was cut short is taken up again."""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_TIMEOUT_S = 60.0
_AGENT = "Mozilla/5.0 (compatible; darts_core)"  # some hosts, that of WikiText-2 among them, refuse Python's own name
_PARTIAL_CONTENT = 206


def fetch(url: str, target: Path, *, checksum: str | None, by_hand: str) -> None:
    """Download ``url`` to ``target``, whose folder exists, by way of ``<target>.part``.

    ``checksum`` is ``md5:...`` or ``sha256:...`` in hexadecimal digits; None is warned of. Raise ``ValueError`` where the file cannot be
    fetched, naming data.url and ending with ``by_hand``, the other way to get it; and where it is damaged or not the one expected.
    """
    part = target.with_name(f"{target.name}.part")
    if checksum is None:
        part.unlink(missing_ok=True)  # what cannot be verified might be another file's beginning
    log.info("fetching %s", url)
    try:
        _download(url, part, again="the same command starts again" if checksum is None else "the same command goes on from there")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(f"data.url: {url} cannot be fetched ({reason}). {by_hand}") from None
    algorithm, _, expected = (checksum or "sha256:").partition(":")
    found = _digest(part, algorithm)
    if not expected:
        log.warning("%s was not verified: no checksum is known. With data.sha256: %s the next download is", url, found)
    elif found != expected.lower():
        part.unlink()
        trust = " If you trust what is there, data.sha256 takes its checksum." if algorithm == "sha256" else ""
        raise ValueError(
            f"{url} is damaged, or another file than expected: {algorithm} {found} instead of {expected}. Try again.{trust} {by_hand}"
        )
    part.replace(target)


def _download(url: str, part: Path, *, again: str) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": _AGENT, **({"Range": f"bytes={done}-"} if done else {})}
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # all of it was there, or more: the checksum says which
    with response as source, part.open("ab" if source.status == _PARTIAL_CONTENT else "wb") as out:
        before = out.tell()
        shutil.copyfileobj(source, out)
        expected = source.headers["Content-Length"]
        if expected is not None and out.tell() - before != int(expected):
            raise OSError(f"the connection ended after {out.tell() - before} of {expected} bytes; {again}")


def _open(url: str, headers: dict[str, str]) -> Any:
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)  # noqa: S310 - the user's own address


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
