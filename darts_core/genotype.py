"""The discrete architecture: ``Genotype``, ``Cell``, ``Edge``; JSON with a schema version; the published ones, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from darts_core.registry import suggest

SCHEMA_VERSION = 1
CELL_TYPES = ("normal", "reduce")


class GenotypeError(ValueError):
    """A genotype that cannot be built; the message says which cell, node and edge, and what was expected."""


@dataclass(frozen=True)
class Edge:
    """One operation applied to one earlier state: the cell's inputs come first (0 and 1, or 0 alone), then its nodes."""

    op: str
    src: int


@dataclass(frozen=True)
class Cell:
    """``nodes[j]`` holds the edges that are summed into state ``j + inputs``; ``concat`` the states that form the output."""

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]
    inputs: int = 2

    @property
    def edges(self) -> tuple[tuple[int, Edge], ...]:
        """All edges as ``(destination state, edge)``, in the order of the nodes."""
        return tuple((j + self.inputs, edge) for j, edges in enumerate(self.nodes) for edge in edges)


@dataclass(frozen=True, kw_only=True)
class Genotype:
    """A normal cell and, in most spaces, a reduction cell, the space that they belong to and the rule that derived them."""

    normal: Cell
    reduce: Cell | None = None
    space: str = "darts_cnn"
    rule: str = "published"

    @classmethod
    def of(cls, cells: Mapping[str, Cell], *, space: str, rule: str) -> Genotype:
        """Return the genotype of ``cells`` by their types."""
        return cls(normal=cells["normal"], reduce=cells.get("reduce"), space=space, rule=rule)

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells that there are, by their types."""
        return {"normal": self.normal} if self.reduce is None else {"normal": self.normal, "reduce": self.reduce}

    def cell(self, cell_type: str) -> Cell:
        """Return the cell called ``normal`` or ``reduce``; another name, or one that there is none of, raises ``ValueError``."""
        if cell_type not in CELL_TYPES:
            raise ValueError(f"A cell is called 'normal' or 'reduce'. Got {cell_type!r}.")
        if cell_type not in self.cells:
            raise ValueError(f"A genotype of the space '{self.space}' has no {cell_type} cell.")
        return self.cells[cell_type]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form (schema version 1)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "space": self.space,
            "rule": self.rule,
            "cells": {
                cell_type: {
                    **({} if cell.inputs == 2 else {"inputs": cell.inputs}),
                    "nodes": [[{"op": e.op, "src": e.src} for e in edges] for edges in cell.nodes],
                    "concat": list(cell.concat),
                }
                for cell_type, cell in self.cells.items()
            },
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON form to ``path``."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, data: object, *, source: str = "genotype") -> Genotype:
        """Read the JSON form strictly: an unknown key, version, or a malformed cell raises ``GenotypeError``."""
        version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else SCHEMA_VERSION
        if type(version) is not int or version != SCHEMA_VERSION:
            raise GenotypeError(f"{source}: schema_version {SCHEMA_VERSION} expected. Got {version!r}.")
        top = _mapping(data, source, {"schema_version", "space", "rule", "cells"})
        for key in ("space", "rule"):
            if not isinstance(top[key], str) or not top[key]:
                raise GenotypeError(f"{source}: {key} must be a name. Got {top[key]!r}.")
        cells = _mapping(top["cells"], f"{source}: cells", {"normal"}, optional={"reduce"})
        read = {cell_type: _read_cell(cells[cell_type], f"{source}: {cell_type} cell") for cell_type in CELL_TYPES if cell_type in cells}
        return cls.of(read, space=top["space"], rule=top["rule"])

    @classmethod
    def load(cls, path: str | Path) -> Genotype:
        """Read a JSON file. Raise ``GenotypeError`` where it is missing, not JSON, or not a genotype."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
        except OSError as error:
            raise GenotypeError(f"{path}: cannot be read ({error.strerror}).") from None
        except (ValueError, RecursionError) as error:
            raise GenotypeError(f"{path}: not JSON ({error}).") from None
        return cls.from_dict(data, source=str(path))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' is given twice in one object")
    return data


def _mapping(data: object, where: str, keys: set[str], *, optional: Set[str] = frozenset()) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise GenotypeError(f"{where}: an object with the keys {sorted(keys)} expected. Got {type(data).__name__}.")
    if missing := sorted(keys - set(data)):
        raise GenotypeError(f"{where}: missing {missing}.")
    if unknown := sorted(set(data) - keys - optional):
        known = keys | optional
        raise GenotypeError(f"{where}: unknown key '{unknown[0]}'{suggest(unknown[0], known)}. Known: {sorted(known)}.")
    return data


def _index(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GenotypeError(f"{where}: a whole number expected. Got {value!r}.")
    return value


def _read_cell(data: object, where: str) -> Cell:
    cell = _mapping(data, where, {"nodes", "concat"}, optional={"inputs"})
    inputs = _index(cell.get("inputs", 2), f"{where}, inputs")
    if inputs not in (1, 2):
        raise GenotypeError(f"{where}: inputs must be 1 or 2. Got {inputs}.")
    if not isinstance(cell["nodes"], list) or not cell["nodes"]:
        raise GenotypeError(f"{where}: nodes must be a list with at least one node. Got {cell['nodes']!r}.")
    nodes = tuple(_read_node(node, j, f"{where}, node {j}") for j, node in enumerate(cell["nodes"], start=inputs))
    if not isinstance(cell["concat"], list) or not cell["concat"]:
        raise GenotypeError(f"{where}: concat must be a list of states. Got {cell['concat']!r}.")
    concat = tuple(_index(state, f"{where}, concat") for state in cell["concat"])
    if len(set(concat)) != len(concat):
        raise GenotypeError(f"{where}: concat names a state twice: {list(concat)}.")
    for state in concat:
        if not inputs <= state < len(nodes) + inputs:
            raise GenotypeError(f"{where}: concat may name the states {inputs} to {len(nodes) + inputs - 1}. Got {state}.")
    return Cell(nodes, concat, inputs)


def _read_node(data: object, state: int, where: str) -> tuple[Edge, ...]:
    if not isinstance(data, list) or not data:
        raise GenotypeError(f"{where}: a list with at least one edge expected. Got {data!r}.")
    edges = []
    for k, item in enumerate(data):
        edge = _mapping(item, f"{where}, edge {k}", {"op", "src"})
        if not isinstance(edge["op"], str) or not edge["op"]:
            raise GenotypeError(f"{where}, edge {k}: op must be a name. Got {edge['op']!r}.")
        src = _index(edge["src"], f"{where}, edge {k}, src")
        if src >= state:
            raise GenotypeError(f"{where}, edge {k}: src {src} makes a cycle; node {state} may read the states 0 to {state - 1}.")
        if src < 0:
            raise GenotypeError(f"{where}, edge {k}: src must be 0 to {state - 1}. Got {src}.")
        edges.append(Edge(edge["op"], src))
    return tuple(edges)


@cache
def _published() -> dict[str, dict[str, Any]]:
    text = files("darts_core").joinpath("published_genotypes.json").read_text(encoding="utf-8")
    genotypes: dict[str, dict[str, Any]] = json.loads(text)["genotypes"]
    return genotypes


def published_names() -> list[str]:
    """Return the names of the published genotypes, sorted."""
    return sorted(_published())


def published_source(name: str) -> str:
    """Return the public file that a published genotype was taken from."""
    published(name)
    return str(_published()[name]["source"])


def published(name: str) -> Genotype:
    """Return a published genotype. Raise ``GenotypeError`` that lists the known names if there is none."""
    known = _published()
    if name not in known:
        raise GenotypeError(
            f"derive.genotype: no published genotype is called '{name}'{suggest(name, known)}. "
            f"Expected 'search', a file that ends in .json, or one of: {', '.join(published_names())}."
        )
    entry = known[name]
    data = {"schema_version": SCHEMA_VERSION, "space": entry.get("space", "darts_cnn"), "rule": "published", "cells": entry["cells"]}
    return Genotype.from_dict(data, source=name)
