"""Text -> tokens -> numbers: words or characters, the rare ones as ``<unk>``."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["word", "character"]
UNKNOWN = "<unk>"
END = "<eos>"
SCHEMA_VERSION = 1
_ASCII_WORD = re.compile(r"<\w+>|\w+(?:'\w+)*|[^\w\s]")
_MARK_PLANES = (range(0x300, 0x20000), range(0xE0000, 0xE0200))  # where Unicode has combining marks
_CJK = "\u3005-\u3007\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
_SPACELESS = re.compile("[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
SPACELESS_SHARE = 0.1


@cache
def _word() -> re.Pattern[str]:
    """A marker such as <unk>; a Chinese or Japanese character; a word with its combining marks and apostrophes; a mark of punctuation."""
    marks = "".join(chr(code) for plane in _MARK_PLANES for code in plane if unicodedata.category(chr(code)).startswith("M"))
    word = rf"(?:[^\W{_CJK}]+[{marks}\u200c\u200d]*)+"
    return re.compile(rf"<\w+>|[{_CJK}][{marks}]*|{word}(?:['’]{word})*|[^\w\s][{marks}]*")


def words(line: str) -> list[str]:
    """Return the words and marks of punctuation of a line of plain text, and ``<eos>``; one that ends the line already is that one.

    A combining mark belongs to what it is written on. Chinese and Japanese have no spaces: there each character is a word.
    """
    return _ended((_ASCII_WORD if line.isascii() else _word()).findall(line))


def separated_words(line: str) -> list[str]:
    """Return what spaces separate in a line, and ``<eos>``, as :func:`words`: for texts that come as tokens."""
    return _ended(line.split())


def characters(line: str) -> list[str]:
    """Return the characters of a line and its end."""
    return [*line, "\n"]


def is_spaceless(tokens: Sequence[str]) -> bool:
    """Whether more than ``SPACELESS_SHARE`` of ``tokens`` are of scripts that put no spaces between words: each is a whole clause."""
    return sum(_SPACELESS.match(token) is not None for token in tokens) > SPACELESS_SHARE * len(tokens)


def _ended(tokens: list[str]) -> list[str]:
    return tokens if tokens[-1:] == [END] else [*tokens, END]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, by number; the most frequent one first, of equals the one that sorts first. One is ``<unk>``."""

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Iterable[str], *, size: int | None, min_count: int) -> Vocabulary:
        """Return the ``size`` most frequent of ``tokens`` that occur at least ``min_count`` times; ``<unk>`` is one of them."""
        counts = Counter(tokens)
        rare = sum(count for token, count in counts.items() if count < min_count)
        counts[UNKNOWN] += rare
        kept = [token for token, count in counts.items() if count >= min_count and token != UNKNOWN]
        kept.sort(key=lambda token: (-counts[token], token))
        if size is not None and len(kept) > size - 1:
            counts[UNKNOWN] += sum(counts[token] for token in kept[size - 1 :])
            kept = kept[: size - 1]
        return cls(tuple(sorted([*kept, UNKNOWN], key=lambda token: (-counts[token], token))))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each token."""
        return {token: number for number, token in enumerate(self.tokens)}

    @property
    def unknown(self) -> int:
        """The number of ``<unk>``."""
        return self.numbers[UNKNOWN]

    def encode(self, tokens: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of ``tokens`` (N,); those that are not known are ``<unk>``."""
        known, unknown = self.numbers, self.unknown
        return np.fromiter((known.get(token, unknown) for token in tokens), dtype=np.int32, count=len(tokens))

    def save(self, path: Path) -> None:
        """Write the tokens as JSON, in their order."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, "tokens": self.tokens}, indent=0, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what :meth:`save` wrote. Raise ``ValueError`` where it is not there or of another version."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}). Run: dvc repro -f prepare_data.") from None
        if content.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"{path}: expected schema_version {SCHEMA_VERSION}. Run: dvc repro -f prepare_data.")
        return cls(tuple(content["tokens"]))
