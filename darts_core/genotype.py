"""The discrete architecture: ``Genotype``, ``Cell``, ``Edge``; JSON with a schema version; the published ones, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from darts_core.registry import suggest
from darts_core.strict_json import checked_int, checked_mapping, read_json

SCHEMA_VERSION = 1
CELL_TYPES = ("normal", "reduce")
LAYERS = "layers"
"""The cell that is the whole of a network: a chain, of which each node is a layer."""

_NAMES = (*CELL_TYPES, LAYERS)


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

    def layer(self, number: int) -> Cell:
        """Return the operation of a layer (from 0) of a chain, a cell of one node."""
        return Cell(((Edge(self.nodes[number][0].op, 0),),), (1,), 1)


@dataclass(frozen=True, kw_only=True)
class Genotype:
    """A normal cell and, in most spaces, a reduction cell, the space that they belong to and the rule that derived them.

    In their place ``layers``: state 0 is what the stem makes, each node a layer. Its first edge is the layer's operation, any others are
    skip connections from earlier layers.
    """

    normal: Cell | None = None
    reduce: Cell | None = None
    layers: Cell | None = None
    space: str = "darts_cnn"
    rule: str = "published"

    @classmethod
    def of(cls, cells: Mapping[str, Cell], *, space: str, rule: str) -> Genotype:
        """Return the genotype of ``cells`` by their types."""
        return cls(**cells, space=space, rule=rule)

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells that there are, by their types."""
        found = {name: getattr(self, name) for name in _NAMES}
        return {name: cell for name, cell in found.items() if cell is not None}

    def cell(self, cell_type: str) -> Cell:
        """Return the cell called ``normal``, ``reduce`` or ``layers``; another name, or one that is not there, raises ``ValueError``."""
        if cell_type not in _NAMES:
            raise ValueError(f"A cell is called {_either(_NAMES)}. Got {cell_type!r}.")
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
        is_chain = isinstance(top["cells"], dict) and LAYERS in top["cells"]
        cells = _mapping(top["cells"], f"{source}: cells", {LAYERS if is_chain else "normal"}, optional=set() if is_chain else {"reduce"})
        read = {name: _read_cell(cells[name], f"{source}: {name} cell") for name in _NAMES if name in cells}
        return cls.of(read, space=top["space"], rule=top["rule"])

    @classmethod
    def load(cls, path: str | Path) -> Genotype:
        """Read a JSON file. Raise ``GenotypeError`` where it is missing, not JSON, or not a genotype."""
        data = read_json(path, error=GenotypeError)
        return cls.from_dict(data, source=str(path))


def _either(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


_mapping = partial(checked_mapping, error=GenotypeError)
_index = partial(checked_int, error=GenotypeError)


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
