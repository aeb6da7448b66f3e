"""A collected text -> token numbers, vocabulary, spec: the part of prepare_data that is not the same for images."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darts_core.data.dataset import PARTS
from darts_core.data.text import CollectedText, Document, TextSource
from darts_core.data.text_spec import TextSpec
from darts_core.data.vocabulary import END, UNKNOWN, Unit, Vocabulary, is_spaceless

log = logging.getLogger(__name__)
FOLDERS = {"trainval": ("train", "valid"), "test": ("test",)}
VOCABULARY = "vocabulary.json"
_LEAST_TOKENS = 2  # one to read and one to predict


def write_text(partial: Path, source: TextSource, *, name: str, valid_fraction: float) -> dict[str, float]:
    """Collect the text, divide it, and write ``trainval/``, ``test/`` and ``spec.json`` to ``partial``; return counts.

    Token numbers are int32 arrays, ``<part>.npy``. The vocabulary is of the training text alone. Raise ``ValueError`` where a part is
    empty or the vocabulary holds nothing but ``<unk>``.
    """
    collected = source.collect(partial / "work")
    divided = divide(collected, valid_fraction=valid_fraction)
    tokens = {part: [token for lines in divided[part] for line in lines for token in source.tokenise(line)] for part in PARTS}
    _check(tokens, collected, valid_fraction=valid_fraction)
    if source.unit == "word" and is_spaceless(tokens["train"]):
        log.warning(
            "%s: a script without spaces between words (Thai, Lao, Burmese or Khmer): a whole clause counts as one word, "
            "and most are <unk>. Set data.unit: character, or put spaces between the words.",
            collected.source,
        )
    vocabulary = Vocabulary.of(tokens["train"], size=source.vocabulary_size, min_count=source.min_count)
    if set(vocabulary.tokens) <= {UNKNOWN, *source.tokenise("")}:
        raise ValueError(
            f"{collected.source}: no token occurs data.min_count ({source.min_count}) times in the training text, so all of it is <unk>. "
            "Give more text, or lower data.min_count."
        )
    numbers = {part: vocabulary.encode(tokens[part]) for part in PARTS}
    spec = TextSpec(
        name=name,
        unit=source.unit,
        vocab_size=len(vocabulary),
        tokens={part: len(tokens[part]) for part in PARTS},
        characters={part: _characters(divided[part], unit=source.unit) for part in PARTS},
        unknown={part: int((numbers[part] == vocabulary.unknown).sum()) for part in PARTS},
        reference_split=source.reference_split,
        content_hash=_hash(numbers, vocabulary),
    )
    for folder, parts in FOLDERS.items():
        (partial / folder).mkdir()
        for part in parts:
            np.save(partial / folder / f"{part}.npy", numbers[part])
    vocabulary.save(partial / "trainval" / VOCABULARY)
    (partial / "spec.json").write_text(json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return _metrics(spec)


def divide(collected: CollectedText, *, valid_fraction: float) -> dict[str, list[Document]]:
    """Return the documents of each part: the text's own division first; what is missing comes from the end of each training document."""
    parts: dict[str, list[Document]] = {part: list(collected.parts.get(part, ())) for part in PARTS}
    whole = [len(lines) for lines in parts["train"]]  # both shares are of it, so that one does not shrink with the other
    for part, fraction in (("test", collected.test_fraction or 0.0), ("valid", valid_fraction)):
        if part in collected.parts:
            if part == "valid":
                log.info("the text has a validation part of its own; data.valid_fraction (%g) is not used", fraction)
            continue
        cuts = [max(0, len(lines) - round(fraction * count)) for lines, count in zip(parts["train"], whole, strict=True)]
        parts[part] = [lines[cut:] for lines, cut in zip(parts["train"], cuts) if cut < len(lines)]
        parts["train"] = [lines[:cut] for lines, cut in zip(parts["train"], cuts)]
    return parts


def _check(tokens: Mapping[str, Sequence[str]], collected: CollectedText, *, valid_fraction: float) -> None:
    """Raise ``ValueError`` where a part is too short: by what the text is, or by the shares that are taken of it."""
    short = [part for part in PARTS if len(tokens[part]) < _LEAST_TOKENS]
    if not short:
        return
    source = collected.source
    taken = {"data.valid_fraction": valid_fraction, "data.test_fraction": collected.test_fraction or 0.0}
    taken = {key: share for key, share in taken.items() if key[len("data.") :].removesuffix("_fraction") not in collected.parts}
    if sum(map(len, collected.parts["train"])) == 1 and any(taken.values()):
        raise ValueError(
            f"{source}: the text to learn from is one single line, and a text is divided between its lines. "
            "Break it into lines, such as one a sentence, or give a folder with train.txt, valid.txt and test.txt."
        )
    if sum(taken.values()) >= 1.0:
        shares = " and ".join(f"{key} ({share:g})" for key, share in taken.items())
        raise ValueError(f"{source}: {shares} must leave something to learn from: below 1 in all expected. Got {sum(taken.values()):g}.")
    if short == ["valid"] and not valid_fraction:
        raise ValueError(
            f"{source}: no validation text. The averaging of weights and the best epoch follow it: set data.valid_fraction to 0.1, say."
        )
    part = next(part for part in ("train", "test", "valid") if part in short)
    keys = " or ".join(taken) if part == "train" else f"data.{part}_fraction"
    kind = {"train": "training", "valid": "validation", "test": "test"}[part]
    raise ValueError(f"{source}: too few lines for a {kind} text. Give more of it, or change {keys}.")


def _characters(documents: Sequence[Document], *, unit: Unit) -> int:
    """Count the characters of the text, the end of each sentence as one; among words a run of spaces is one, too."""
    lines = [line for document in documents for line in document]
    if unit == "character":
        return sum(len(line) + 1 for line in lines)
    return sum(len(" ".join(sentence.split())) + 1 for line in lines for sentence in line.removesuffix(END).split(END))


def _hash(numbers: Mapping[str, NDArray[np.int32]], vocabulary: Vocabulary) -> str:
    digest = hashlib.sha256(json.dumps(vocabulary.tokens).encode())
    for part in PARTS:
        digest.update(f"\0{part}\0{len(numbers[part])}\0".encode() + numbers[part].astype("<i4").tobytes())
    return digest.hexdigest()


def _metrics(spec: TextSpec) -> dict[str, float]:
    return {
        **{f"tokens_{part}": float(spec.tokens[part]) for part in PARTS},
        **{f"unknown_{part}_percent": spec.unknown_percent(part) for part in PARTS},
        "vocab_size": float(spec.vocab_size),
    }
