"""What a text data set hands over: documents of lines, and how they become tokens."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from darts_core.data.vocabulary import Unit

Document: TypeAlias = Sequence[str]  # its lines, without their ends
Tokenise: TypeAlias = Callable[[str], list[str]]
# Those of utf-32 first: one begins like utf-16's.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, kw_only=True)
class CollectedText:
    """A text before it is divided. ``parts`` maps "train", and "valid" and "test" where the text has them, to documents.

    Where one of these is missing, it is taken from the end of each training document: ``data.valid_fraction`` of the lines, and
    ``test_fraction``. ``source`` is what messages call the text.
    """

    parts: Mapping[str, Sequence[Document]]
    test_fraction: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A registered text: how it is collected into an empty folder's neighbourhood, and the choices that were made for it.

    ``vocabulary_size`` None keeps all tokens that occur ``min_count`` times in the training text. With ``reference_split`` the
    architecture parameters move by the validation text, as in the paper. ``test_cut`` is ``test_fraction`` of a text that never comes with
    a validation or a test part, None of others.
    """

    collect: Callable[[Path], CollectedText]
    tokenise: Tokenise
    unit: Unit
    vocabulary_size: int | None
    min_count: int
    reference_split: bool
    test_cut: float | None = None

    def __post_init__(self) -> None:
        if self.vocabulary_size is not None and self.vocabulary_size < 3:
            raise ValueError(f"data.vocabulary_size must be at least 3, or null for no limit. Got {self.vocabulary_size}.")
        if self.min_count < 1:
            raise ValueError(f"data.min_count must be at least 1. Got {self.min_count}.")

    def check_shares(self, valid_fraction: float) -> None:
        """Raise ``ValueError`` where a text that is always divided would lack its validation text, or one to learn from."""
        if self.test_cut is None:
            return
        if not valid_fraction:
            raise ValueError(
                "data.valid_fraction must be above 0 with a text that has no validation part of its own: the averaging of weights and the "
                "best epoch follow it. Got 0. Set it to 0.1, say."
            )
        if valid_fraction + self.test_cut >= 1.0:
            raise ValueError(
                "data.valid_fraction and data.test_fraction must leave something to learn from: below 1 in all expected. "
                f"Got {valid_fraction:g} and {self.test_cut:g}."
            )


def read_lines(path: Path, *, encoding: str, key: str = "data.root", as_is: bool = False) -> list[str]:
    """Return the lines of a text file, stripped, and of blank ones none; ``as_is`` with their spaces, and blank ones, too.

    Raise ``ValueError`` that names ``key`` and the file where it cannot be read, is empty, is binary or is of another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{key}: {path} cannot be read ({error.strerror or error}). Give a text file, or a folder of them.") from None
    own = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if own is not None:
        hint = f" Its first bytes are the mark of {own}: set data.encoding: {own}, or save it as utf-8."
    elif own := _unmarked(data[:4096]):
        hint = f" Every other byte is zero, as in {own}: set data.encoding: {own}, or save it as utf-8."
    else:
        hint = ""
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(f"data.encoding: no encoding is called '{encoding}'. Expected one that Python knows, such as utf-8.") from None
    except UnicodeDecodeError as error:
        kind = "binary, or not" if b"\0" in data[:4096] else "not"
        advice = hint or f" Save it as {encoding}, or set data.encoding."
        raise ValueError(f"{key}: {path} is {kind} {encoding} text (byte {error.start}).{advice}") from None
    if "\0" in text:
        raise ValueError(f"{key}: {path} is binary (it holds zero bytes). Expected plain text.{hint}")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise ValueError(f"{key}: {path} is empty. Expected plain text.")
    if as_is:
        return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]  # other ends, as a form feed, are characters here
    return [line for line in map(str.strip, text.splitlines()) if line]


def _unmarked(data: bytes) -> str | None:
    """Return the kind of UTF-16 that ``data`` looks like, of a script with few letters: one byte in two is nearly always zero."""
    first, second = (data[start::2].count(0) / max(1, len(data[start::2])) for start in (0, 1))
    if min(first, second) > 0.05 or max(first, second) < 0.8:
        return None
    return "utf-16-be" if first > second else "utf-16-le"
