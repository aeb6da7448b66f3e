"""What every later stage knows of a prepared text: its unit, the size of its vocabulary, how long each part is, a content hash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from darts_core.data.vocabulary import Unit

SCHEMA_VERSION = 1
KIND = "text"


@dataclass(frozen=True)
class TextSpec:
    """A prepared text.

    ``tokens``, ``characters`` and ``unknown`` are counts by part (train, valid, test): of tokens, of the text's characters (the end of a
    line counted, a run of spaces among words as one), and of tokens outside the vocabulary. ``reference_split``: alpha moves by the
    validation text. ``content_hash`` is a sha256 over the parts and the vocabulary; equal hashes mean equal prepared texts.
    """

    name: str
    unit: Unit
    vocab_size: int
    tokens: Mapping[str, int]
    characters: Mapping[str, int]
    unknown: Mapping[str, int]
    reference_split: bool
    content_hash: str

    def bits_per_character(self, nll: float, part: str) -> float:
        """Return the bits that a character of ``part`` takes where a token takes ``nll`` nats; an unknown token is told as ``<unk>``."""
        return nll / math.log(2.0) * self.tokens[part] / self.characters[part]

    def unknown_percent(self, part: str) -> float:
        """Return the share of ``part``'s tokens that are ``<unk>``."""
        return 100.0 * self.unknown[part] / self.tokens[part]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form (schema version 1)."""
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "spec.json") -> TextSpec:
        """Read the JSON form. Raise ``ValueError`` where it is of images, of another version, or a key is not the expected one."""
        if data.get("kind") != KIND:
            raise ValueError(f"{source}: text expected. Got prepared images. Run: dvc repro prepare_data.")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{source}: expected schema_version {SCHEMA_VERSION}. Got {data.get('schema_version')!r}. Prepare the data again."
            )
        values = {key: value for key, value in data.items() if key not in ("schema_version", "kind")}
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"{source}: expected the keys {sorted(expected)}. Got {sorted(values)}. Prepare the data again.")
        return cls(**values)
