"""The English prose of CPython's own documentation topics, which every Python brings along: a small text that needs no download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from darts_core.data.dataset import DATASETS, check_fraction
from darts_core.data.text import CollectedText, TextSource
from darts_core.data.vocabulary import Unit, characters, words

_BULLET = re.compile(r"^(?:[*•-]|\d+\.|#\.)\s+")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(\w[^*]*)\1(?![\w*])")
_REFERENCE = re.compile(r"\s*\[\d+\]")
_RULED = re.compile(r"[-=+|~*^\"\s]+")
_LEAST_WORDS = 6
_LEAST_PLAIN = 0.8


@DATASETS.register("python_docs")
def python_docs(
    *,
    unit: Unit = "word",
    vocabulary_size: int | None = 10_000,
    min_count: int = 2,
    lowercase: bool = True,
    test_fraction: float = 0.1,
    reference_split: bool = False,
) -> TextSource:
    """The prose of Python's documentation topics (pydoc_data.topics), some 57,000 words and marks, from the Python that runs; no download.

    Headings, code, grammar and tables are left out, and so is a paragraph that an earlier topic had. The end of every topic is held
    out: ``test_fraction`` of its paragraphs, and ``data.valid_fraction`` before them. Another Python version has another text.
    """
    check_fraction(test_fraction, key="data.test_fraction")

    def collect(workdir: Path) -> CollectedText:
        documents = prose(_topics())
        if lowercase:
            documents = [[line.lower() for line in lines] for lines in documents]
        return CollectedText(parts={"train": documents}, test_fraction=test_fraction, source="data.name: python_docs")

    return TextSource(
        collect=collect,
        tokenise=words if unit == "word" else characters,
        unit=unit,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        reference_split=reference_split,
        test_cut=test_fraction,
    )


def prose(topics: Mapping[str, str]) -> list[list[str]]:
    """Return the paragraphs of each topic, in the order of their names, each on one line; none comes twice."""
    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        paragraphs = []
        for block in re.split(r"\n\s*\n", topics[name]):
            paragraph = _paragraph(block)
            if paragraph is not None and paragraph not in seen:
                seen.add(paragraph)
                paragraphs.append(paragraph)
        if paragraphs:
            documents.append(paragraphs)
    return documents


def _paragraph(block: str) -> str | None:
    """Return a block of lines as one line, without its bullet and the numbers of footnotes, or None where it is no prose."""
    lines = [line.strip() for line in block.splitlines()]
    if any(_RULED.fullmatch(line) for line in lines) or "::=" in block or block.lstrip().startswith((">>>", "...", "$ ", "def ", "class ")):
        return None
    text = _REFERENCE.sub("", _BULLET.sub("", " ".join(lines)))
    text = " ".join(_EMPHASIS.sub(r"\2", text).translate(str.maketrans("“”‘’", "\"\"''")).split())
    plain = [word.strip("\"'().,;:!?*") for word in text.split()]
    is_prose = len(plain) >= _LEAST_WORDS and sum(word.isalpha() for word in plain) >= _LEAST_PLAIN * len(plain)
    return text if is_prose and text[-1] in ".:;!?)" else None


def _topics() -> Mapping[str, str]:
    try:
        from pydoc_data import topics
    except ImportError:
        raise ValueError("data.name: python_docs needs the module pydoc_data, which this Python lacks. Take another data set.") from None
    return dict(topics.topics)
