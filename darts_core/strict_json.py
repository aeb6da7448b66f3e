"""JSON from a user's file, read strictly: a key given twice is an error, as are a missing and an unknown one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from darts_core.registry import suggest


def read_json(path: str | Path, *, error: type[ValueError] = ValueError) -> Any:
    """Return what is in a file. Raise ``error`` where it cannot be read, is not JSON, or names a key of an object twice."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}).") from None
    except (ValueError, RecursionError) as cause:
        raise error(f"{path}: not JSON ({cause}).") from None


def checked_mapping(
    data: object, where: str, keys: Set[str], *, optional: Set[str] = frozenset(), error: type[ValueError] = ValueError
) -> Mapping[str, Any]:
    """Return ``data``, an object with all of ``keys`` and any of ``optional``. Raise ``error`` that says ``where`` it is something else."""
    if not isinstance(data, dict):
        raise error(f"{where}: an object with the keys {sorted(keys)} expected. Got {type(data).__name__}.")
    known, unknown = keys | optional, sorted(set(data) - keys - optional)
    if missing := sorted(keys - set(data)):
        there = f" Unknown: '{unknown[0]}'{suggest(unknown[0], known)}." if unknown else ""
        raise error(f"{where}: missing {missing}.{there}")
    if unknown:
        raise error(f"{where}: unknown key '{unknown[0]}'{suggest(unknown[0], known)}. Known: {sorted(known)}.")
    return data


def checked_int(value: object, where: str, *, least: int | None = None, error: type[ValueError] = ValueError) -> int:
    """Return ``value``, a whole number and no boolean, ``least`` or more. Raise ``error`` that says ``where`` it is something else."""
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        raise error(f"{where}: a whole number{'' if least is None else f' of at least {least}'} expected. Got {value!r}.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' is given twice in one object")
    return data
