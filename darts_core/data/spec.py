"""What every later stage knows of a prepared data set: names, shape, statistics, default augmentation, content hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class AugmentPolicy:
    """How training batches are varied; lengths in pixels, ``rotation`` in degrees, 0 and ``False`` switch a part off.

    ``zoom`` is the largest relative change of width and height, drawn apart: 0.1 makes them 1/1.1 to 1.1 times as large.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout_length: int = 0
    rotation: float = 0.0
    zoom: float = 0.0


@dataclass(frozen=True)
class DataSpec:
    """A prepared data set: ``mean`` and ``std`` are per channel, of the training images scaled to [0, 1].

    ``content_hash`` is a sha256 over images, labels and class names; equal hashes mean equal data sets.
    """

    name: str
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: AugmentPolicy
    content_hash: str

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std need one number a channel ({self.channels}). Got {self.mean} and {self.std}.")
        if min(self.channels, self.height, self.width, len(self.class_names)) < 1:
            raise ValueError(f"channels, height, width and the number of classes must be at least 1. Got {self}.")

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form (schema version 1)."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "spec.json") -> DataSpec:
        """Read the JSON form. Raise ``ValueError`` where the version or a key is not the expected one."""
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{source}: expected schema_version {SCHEMA_VERSION}. Got {data.get('schema_version')!r}. Prepare the data again."
            )
        values = {key: value for key, value in data.items() if key != "schema_version"}
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"{source}: expected the keys {sorted(expected)}. Got {sorted(values)}. Prepare the data again.")
        for key in ("class_names", "mean", "std"):
            values[key] = tuple(values[key])
        return cls(**{**values, "augment": AugmentPolicy(**values["augment"])})
