"""``search_space.json``: the layers of a chain, their channels and strides, and what each may choose among."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darts_core.nets.layers import Layer
from darts_core.ops import OPS
from darts_core.registry import suggest
from darts_core.strict_json import checked_int, checked_mapping, read_json

SCHEMA_VERSION = 1
BUILT_IN = Path(__file__).with_name("layerwise.json")


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """``layers`` from first to last, ``operations`` those that each may have, ``init_channels`` the stem's; ``source`` is the file."""

    layers: tuple[Layer, ...]
    operations: tuple[tuple[str, ...], ...]
    init_channels: int
    source: str

    @property
    def primitives(self) -> tuple[str, ...]:
        """All operations, in the order in which they first appear."""
        return tuple(dict.fromkeys(op for operations in self.operations for op in operations))


def read_layer_file(path: Path | None) -> LayerFile:
    """Return what a file says, or the built-in one for None.

    Raise ``ValueError`` that names the file and the key, what was expected there and what it holds; a line for each layer at fault.
    """
    source = "the built-in search space" if path is None else str(path)
    where = f"space.search_space: {BUILT_IN.name if path is None else path}"
    try:
        data = read_json(BUILT_IN if path is None else path)
    except ValueError as error:
        raise ValueError(f"space.search_space: {error} Expected a JSON file, or null for the built-in search space.") from None
    version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else SCHEMA_VERSION
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ValueError(f"{where}: schema_version {SCHEMA_VERSION} expected. Got {version!r}.")
    top = checked_mapping(data, where, {"schema_version", "init_channels", "layers"}, optional={"operations"})
    common = _operations(top["operations"], f"{where}: operations") if "operations" in top else None
    if not isinstance(top["layers"], list) or not top["layers"]:
        raise ValueError(f"{where}: layers must be a list with at least one layer. Got {top['layers']!r}.")
    faults: list[str] = []
    init_channels = _noted(faults, partial(checked_int, top["init_channels"], f"{where}: init_channels", least=1))
    read = [_noted(faults, partial(_layer, layer, f"{where}: layers[{number}]", common)) for number, layer in enumerate(top["layers"])]
    if faults:
        raise ValueError("\n".join(faults))
    layers, operations = zip(*read)
    return LayerFile(layers=layers, operations=operations, init_channels=init_channels, source=source)


def _noted(faults: list[str], read: Callable[[], Any]) -> Any:
    """Return what ``read`` does; None where it raises, whose message ``faults`` gets."""
    try:
        return read()
    except ValueError as error:
        faults.append(str(error))
        return None


def _layer(data: Any, where: str, common: tuple[str, ...] | None) -> tuple[Layer, tuple[str, ...]]:
    layer = checked_mapping(data, where, {"channels"}, optional={"stride", "operations"})
    stride = checked_int(layer.get("stride", 1), f"{where}.stride")
    if stride not in (1, 2):
        raise ValueError(f"{where}.stride: 1, or 2 to halve the resolution, expected. Got {stride}.")
    operations = _operations(layer["operations"], f"{where}.operations") if "operations" in layer else common
    if operations is None:
        raise ValueError(f"{where}: missing ['operations'], which the file does not give for all layers either.")
    return Layer(checked_int(layer["channels"], f"{where}.channels", least=1), stride), operations


def _operations(data: Any, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not data:
        raise ValueError(f"{where}: a list with at least one operation expected. Got {data!r}.")
    for number, op in enumerate(data):
        if op not in OPS.names():
            raise ValueError(f"{where}[{number}]: no operation is called {op!r}{suggest(str(op), OPS)}. Known: {', '.join(OPS.names())}.")
        if op in data[:number]:
            raise ValueError(f"{where}[{number}]: each operation once expected. Got {op!r} again.")
    if data == ["none"]:
        raise ValueError(f"{where}: an operation beside 'none' expected, for a chain ends where it has none. Got {data!r}.")
    return tuple(data)
