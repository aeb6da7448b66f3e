"""Reading ``params.yaml``: every fault at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from darts_core.config import yaml_lines
from darts_core.config.language import config_type
from darts_core.config.schema import Component, Config
from darts_core.registry import Registry, plain, suggest

Components = Mapping[str, Registry[Any]]
CrossCheck = Callable[[Config], Iterable[str]]


class ConfigError(ValueError):
    """``params.yaml`` does not say what it must; the message has one line a fault: file, line, key, what was expected."""


def load(path: str | Path, *, components: Components | None = None, cross_check: CrossCheck | None = None) -> Config:
    """Read and check ``path``.

    ``components`` maps a section ("data", "space", "method") to the registry whose schema its options must follow;
    ``cross_check`` returns further faults of a whole configuration, each starting with the key that it is about.
    Raise ``ConfigError`` with every fault at once, or where the file is missing or not YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        hint = "Run this where params.yaml lies, or write one: darts preset digits."
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {hint}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    return parse(text, components=components, cross_check=cross_check, source=str(path))


def parse(text: str, *, components: Components | None = None, cross_check: CrossCheck | None = None, source: str = "params.yaml") -> Config:
    """Like :func:`load`, for the text itself; ``source`` is the file that messages name."""
    try:
        document = yaml_lines.read(text, source=source)
    except yaml_lines.YamlError as error:
        raise ConfigError(str(error)) from None
    values = document.values
    if not isinstance(values, dict):
        got = "an empty file" if values is None else type(values).__name__
        raise ConfigError(f"{source}:1: expected sections such as 'data:' and 'search:'. Got {got}. Write a file: darts preset digits.")
    faults = [(line, key, f"{key}: given twice (first in line {first}).") for key, first, line in document.repeated]
    config, found = _checked(values, components or {})
    faults += [(document.line_of(key), key, f"{key}: {message}") for key, message in found]
    if found:
        # An unknown name stays: it is still a string, and is reported in the same words below.
        config, _ = _checked(_without(values, {key for key, _ in found if not key.endswith(".name")}), components or {})
    for message in cross_check(config) if config is not None and cross_check is not None else ():
        key = re.match(r"[\w.]*", message)[0]  # type: ignore[index]
        faults.append((document.line_of(key), key, message))
    if faults or config is None:
        raise ConfigError("\n".join(f"{source}:{line}: {message}" for line, _, message in sorted(set(faults))))
    return config


def from_mapping(values: Mapping[str, Any], *, components: Components | None = None, cross_check: CrossCheck | None = None) -> Config:
    """Return the configuration that a mapping of sections describes. Raise ``ConfigError`` with every fault at once."""
    config, found = _checked(dict(values), components or {})
    faults = [f"{key}: {message}" for key, message in found]
    if config is not None and cross_check is not None:
        faults += cross_check(config)
    if faults or config is None:
        raise ConfigError("\n".join(dict.fromkeys(faults)))  # a part that cannot be built says again what its options lack
    return config


def _checked(values: dict[str, Any], components: Components) -> tuple[Config | None, list[tuple[str, str]]]:
    """Return the configuration, if there is one, and all faults as (dotted key, message)."""
    config, faults, schema = None, [], config_type(values)
    try:
        config = schema.model_validate(values)
    except ValidationError as error:
        faults = [_explain(e, schema, components) for e in error.errors(include_url=False)]
    for section, registry in components.items():
        chosen = values.get(section)
        if isinstance(chosen, dict) and isinstance(chosen.get("name"), str):
            own = own_keys(schema, section)
            options = {k: v for k, v in chosen.items() if k not in own}
            faults += registry.errors(chosen["name"], options, beside=own)
    return config, faults


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """Leave out what is at fault already, so that one round of messages covers the rest, too."""
    kept = {}
    for section, value in values.items():
        if isinstance(value, dict):
            inner = {key.split(".")[1] for key in keys if key.startswith(f"{section}.")}
            value = {name: item for name, item in value.items() if str(name) not in inner}
        if str(section) not in keys:
            kept[section] = value
    return kept


def _explain(error: Any, schema: type[Config], components: Components) -> tuple[str, str]:
    location = [str(part) for part in error["loc"]]
    key, kind = ".".join(location), error["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        known = _known_keys(schema, location[:-1])
        return key, f"not a known key{suggest(location[-1], known)}. Known: {', '.join(known)}."
    if kind == "missing":
        choices = components.get(location[0])
        return key, f"missing. Expected {'a section with a name' if len(location) == 1 else 'a name'}" + (
            f", one of: {', '.join(choices.names())}." if choices else "."
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        keys = ", ".join(_known_keys(schema, location))
        return key, f"must be a section with indented keys ({keys}). Got {'nothing' if error['input'] is None else repr(error['input'])}."
    return key, plain(error)


def _known_keys(schema: type[Config], location: list[str]) -> list[str]:
    model: type[BaseModel] = schema
    for part in location:
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return list(model.model_fields)


def own_keys(schema: type[Config], section: str) -> list[str]:
    """Return the keys of a section that are not options of what it selects."""
    return _known_keys(schema, [section]) if section in schema.model_fields else list(Component.model_fields)
