"""Files that are images, but of a kind or under an ending that is not read here: they must not vanish from a data set unseen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

HEAD_BYTES = 16  # of a file's beginning tell what it is
_NOT_READ = re.compile(r"\.(?:hei[cf]|hif|avif|jp2|j2k|jpx|jxl|dng|cr[23]|nef|arw|orf|rw2|psd|svg|tga|ico|exr)", re.IGNORECASE)
_NO_IMAGE = re.compile(r"\.(?:txt|jsonl?|xml|[ct]sv|md|rst|ya?ml|html?|pdf|db|ini|log|py)", re.IGNORECASE)
_CONTENT = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<GIF>GIF8[79]a)|(?P<BMP>BM.{4}\0{4})|(?P<TIFF>II\*\0|MM\0\*)"
    rb"|(?P<WebP>RIFF.{4}WEBP)",
    re.DOTALL,
)


def reason(path: str, head: Callable[[], bytes]) -> str | None:
    """Say why a file without a known image ending is an image all the same, and what to do; None where it is none.

    ``head`` returns the file's first ``HEAD_BYTES`` bytes; it is called where the ending is neither an image's nor a text's.
    """
    suffix = PurePosixPath(path).suffix
    if _NOT_READ.fullmatch(suffix):
        return f"{suffix} cannot be read here; convert it to PNG or JPEG"
    if _NO_IMAGE.fullmatch(suffix) or not (found := _CONTENT.match(head())):
        return None
    return f"{found.lastgroup} by its content; give it that ending"


def endings(paths: list[str]) -> str:
    """Return the endings of ``paths`` as a list to print."""
    return ", ".join(sorted({PurePosixPath(path).suffix.lower() or "none" for path in paths}))
