"""Changes to a parameter file that leave every other character, comments above all, as it is."""

from __future__ import annotations

import json

from darts_core.config import yaml_lines


class EditError(ValueError):
    """A change that cannot be made; the message says which, and how it is written."""


def assignment(text: str) -> tuple[str, str]:
    """Split ``section.key=value`` and return the dotted key and the value as YAML. Raise ``EditError`` for another form."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        raise EditError(f"expected section.key=value, with null for no value. Got '{text}'.")
    if len(key.split(".")) > 2 or not all(part.isidentifier() for part in key.split(".")):
        raise EditError(f"expected a key such as seed or search.epochs. Got '{key}'.")
    return key, _as_yaml(value)


def assign(text: str, key: str, value: str) -> str:
    """Return ``text`` with ``key`` set to ``value`` (YAML); a key that is not there is added at the end of its section."""
    entries = yaml_lines.read(text, source="the preset").entries
    entry = entries.get(key)
    if entry is None:
        return _added(text, key, value, entries)
    if not entry.inline or any(other.startswith(f"{key}.") and not other.rpartition(".")[2].isdigit() for other in entries):
        raise EditError(f"{key} is a section; set one of its keys, as in --set {key}.NAME=value.")
    before, after = text[: entry.start], text[entry.end :]
    rest, newline, remaining = after.partition("\n")
    if "#" in rest:  # the comment stays in its column if the new value leaves room
        line = before.rpartition("\n")[2]
        column = len(line) + entry.end - entry.start + rest.index("#")
        rest = " " * max(2, column - len(line) - len(value)) + rest.lstrip()
    return f"{before}{value}{rest}{newline}{remaining}"


def without(text: str, key: str) -> str:
    """Return ``text`` without the line of ``key``."""
    line = yaml_lines.read(text, source="the preset").entries[key].line
    lines = text.splitlines(keepends=True)
    return "".join([*lines[: line - 1], *lines[line:]])


def _added(text: str, key: str, value: str, entries: dict[str, yaml_lines.Entry]) -> str:
    section, _, name = key.rpartition(".")
    if not section or section not in entries:
        return f"{text.rstrip()}\n\n" + (f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}\n")
    end = max(entry.end for other, entry in entries.items() if other.startswith(f"{section}."))
    cut = text.find("\n", end) + 1 or len(text)
    return f"{text[:cut].rstrip()}\n  {name}: {value}\n{text[cut:]}"


def _as_yaml(value: str) -> str:
    """Return ``value`` itself if YAML reads all of it as one plain value, else in quotes (``a: b`` and ``a #b`` are words here)."""
    try:
        read = yaml_lines.read(f"- {value}\n", source="the value").values
    except yaml_lines.YamlError:
        return json.dumps(value)
    [item] = read if isinstance(read, list) and len(read) == 1 else [{}]
    is_quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    is_cut = (isinstance(item, str) and item != value and not is_quoted) or (item is None and value not in ("null", "~"))
    return json.dumps(value) if is_cut or isinstance(item, dict) else value
