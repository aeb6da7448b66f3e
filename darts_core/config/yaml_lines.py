"""YAML text -> values, and the line and place of every key, so that a message can say where and an edit can keep comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


class YamlError(ValueError):
    """Text that is not YAML; the message starts with ``source:line:``."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key: its line (from 1) and the characters ``text[start:end]`` that hold its value; ``inline`` if these lie in one line."""

    line: int
    start: int
    end: int
    inline: bool


@dataclass(frozen=True, kw_only=True)
class Document:
    """``values`` as Python objects, ``entries`` by dotted key, and ``repeated`` keys as (dotted key, first line, second line)."""

    values: Any
    entries: dict[str, Entry]
    repeated: tuple[tuple[str, int, int], ...]

    def line_of(self, key: str) -> int:
        """Return the line of a dotted key, or that of the nearest section around it that is there."""
        while key and key not in self.entries:
            key = key.rpartition(".")[0]
        return self.entries[key].line if key else 1


class _Loader(yaml.SafeLoader):
    """Plain values as YAML 1.2 reads them, which is also how DVC reads the file: ``off`` is a word and ``3e-4`` a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to configure a loader

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias (*name) stands here; write the value out", mark)
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read(text: str, *, source: str) -> Document:
    """Read one document. Raise ``YamlError`` with ``source`` and the line if it is not YAML, or uses an alias."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = " A tab cannot indent; use spaces." if "'\\t'" in str(error.problem) else ""
        raise YamlError(f"{source}:{mark.line + 1 if mark else 1}: not YAML: {error.problem or error.context}.{hint}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(f"{source}:1: not YAML: {str(error).splitlines()[0]}.") from None
    entries: dict[str, Entry] = {}
    repeated: list[tuple[str, int, int]] = []
    for key, entry in _walk(node, ""):
        if key in entries and not any(key.startswith(f"{outer}.") for outer, _, _ in repeated):
            repeated.append((key, entries[key].line, entry.line))
        entries.setdefault(key, entry)
    return Document(values=values, entries=entries, repeated=tuple(repeated))


def _walk(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, Entry]]:
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key.start_mark.line, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(k), value.start_mark.line, value) for k, value in enumerate(node.value)]
    else:
        return
    for name, line, value in children:
        start, end = value.start_mark, value.end_mark
        yield f"{prefix}{name}", Entry(line=line + 1, start=start.index, end=end.index, inline=start.line == end.line)
        yield from _walk(value, f"{prefix}{name}.")
