"""A user's own text: one file that is divided, or a folder with a file a part."""

from __future__ import annotations

import logging
from itertools import combinations
from pathlib import Path

from darts_core.data.dataset import DATASETS, check_fraction
from darts_core.data.text import CollectedText, TextSource, read_lines
from darts_core.data.vocabulary import Unit, characters, words

LOG = logging.getLogger(__name__)
_SPELLINGS = {"train": ("train", "training"), "valid": ("valid", "val", "validation", "dev"), "test": ("test", "testing")}


@DATASETS.register("text")
def text(
    *,
    root: str,
    unit: Unit = "word",
    vocabulary_size: int | None = 10_000,
    min_count: int = 2,
    lowercase: bool = False,
    encoding: str = "utf-8",
    test_fraction: float = 0.1,
    reference_split: bool = False,
) -> TextSource:
    """Your own text: ``root`` is a file, or a folder with train, valid and test files (valid and test may be missing).

    A line ends a sentence, and so does ``<eos>`` among words. Among words blank lines and indentation count for nothing; of characters none
    is left out. Of a single file the last ``test_fraction`` of the lines is the test text and ``data.valid_fraction`` before it the
    validation text. A token (``unit``: word or character) that the training text has fewer than ``min_count`` times, or that is not one of
    its ``vocabulary_size`` most frequent, becomes ``<unk>``.
    """
    check_fraction(test_fraction, key="data.test_fraction")

    def collect(workdir: Path) -> CollectedText:
        files = part_files(Path(root))
        parts = {name: [_lines(path, encoding, lowercase, as_is=unit == "character")] for name, path in files.items()}
        for one, other in combinations(files, 2):
            if parts[one] == parts[other]:
                LOG.warning(
                    "data.root: %s and %s in %s hold the same text: who knows one knows the other, and its perplexity says nothing.",
                    *(files[one].name, files[other].name, root),
                )
        return CollectedText(parts=parts, test_fraction=test_fraction, source=f"data.root: {root}")

    return TextSource(
        collect=collect,
        tokenise=words if unit == "word" else characters,
        unit=unit,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        reference_split=reference_split,
    )


def _lines(path: Path, encoding: str, lowercase: bool, *, as_is: bool) -> list[str]:
    lines = read_lines(path, encoding=encoding, as_is=as_is)
    return [line.lower() for line in lines] if lowercase else lines


def part_files(root: Path) -> dict[str, Path]:
    """Return the file of each part that there is. Raise ``ValueError`` where there are two for one, or none for training."""
    if not root.is_dir():
        return {"train": root}
    found: dict[str, Path] = {}
    for path in sorted(path for path in root.iterdir() if path.is_file()):
        part = next((part for part, names in _SPELLINGS.items() if path.name.lower().partition(".")[0] in names), None)
        if part is not None and part in found:
            raise ValueError(f"data.root: {root} has two files for {part}: {found[part].name} and {path.name}. Remove one.")
        if part is not None:
            found[part] = path
    if "train" not in found:
        names = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
        raise ValueError(f"data.root: {root} has no file train.txt (beside it valid.txt and test.txt, if any). Got {names}.")
    return found
