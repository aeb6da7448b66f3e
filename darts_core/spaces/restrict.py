"""A space with fewer edges, or fewer operations on some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from darts_core.registry import suggest
from darts_core.spaces.space import Space

Edges = dict[str, tuple[str, ...]]


def restricted(space: Space, *, edges: Edges | None = None) -> Space:
    """Return ``space`` with these candidates on these edges, an option of every space of cells.

    ``edges`` maps ``source-destination``, or ``cell/source-destination`` for the cells of one type, to operations that stand there
    already. No operation means no edge; in a space whose nodes keep all edges it means ``none``. Raise ``ValueError`` that names the
    known edges or operations.
    """
    if edges is None:
        return space
    offered = {
        cell_type: dict(zip(space.edge_names, (space.edge_primitives or {}).get(cell_type, [space.primitives] * len(space.edge_names))))
        for cell_type in space.cell_types
    }
    removed = [name for name, ops in edges.items() if not ops and not space.shape.may_be_none]
    for name, ops in edges.items():
        if len(set(ops)) != len(ops):
            raise ValueError(f"space.edges: '{name}' names an operation twice: {list(ops)}.")
        cell_type, _, edge = name.rpartition("/")
        _check_edge(space, name, cell_type, edge)
        if name in removed and cell_type:
            raise ValueError(f"space.edges: '{name}' must hold an operation, for an edge is left out of all cells or none: '{edge}: []'.")
        for each in [cell_type] if cell_type else space.cell_types:
            known = offered[each][edge]
            for op in ops or (() if name in removed else ("none",)):
                if op not in known:
                    raise ValueError(f"space.edges: '{name}' offers no '{op}'{suggest(op, known)}. Known there: {', '.join(known)}.")
            offered[each][edge] = tuple(op for op in known if op in (ops or ("none",)))
    incoming = [
        tuple(src for src in read if f"{src}-{dst}" not in removed)
        for dst, read in enumerate(space.shape.incoming, start=space.shape.inputs)
    ]
    for dst, read in enumerate(incoming, start=space.shape.inputs):
        if not read:
            raise ValueError(f"space.edges leaves the node {dst} no edge. At least one of those that end in -{dst} expected.")
    left = {cell_type: tuple(ops for name, ops in rows.items() if name not in removed) for cell_type, rows in offered.items()}
    reads = tuple(incoming) if removed else space.shape.reads
    return replace(space, shape=replace(space.shape, reads=reads), edge_primitives=left)


def _check_edge(space: Space, name: str, cell_type: str, edge: str) -> None:
    if edge not in space.edge_names:
        raise ValueError(f"space.edges: no edge is called '{edge}'{suggest(edge, space.edge_names)}. Known: {', '.join(space.edge_names)}.")
    if cell_type and cell_type not in space.cell_types:
        known = [f"{known}/{edge}" for known in space.cell_types]
        raise ValueError(f"space.edges: no cell is called '{cell_type}', in '{name}'. Known: {', '.join([edge, *known])}.")


def narrowed(
    offered: Mapping[str, Sequence[Sequence[str]]], primitives: Sequence[str], *, known: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return what is ``offered`` on each edge of each cell type, without the operations that ``primitives`` leaves out.

    ``known`` are all that the space has, ``names`` those of the edges. Raise ``ValueError`` for another operation, or where an edge is
    left with none or with ``none`` alone.
    """
    for op in primitives:
        if op not in known:
            raise ValueError(f"space.primitives: the space has no '{op}'{suggest(op, known)}. Known: {', '.join(known)}.")
    left = {}
    for cell_type, rows in offered.items():
        left[cell_type] = tuple(tuple(op for op in row if op in primitives) for row in rows)
        for name, row, before in zip(names, left[cell_type], rows):
            if not set(row) - {"none"}:
                raise ValueError(
                    f"space.primitives leaves the edge {name} of the {cell_type} cell nothing to choose: "
                    f"at least one of {', '.join(before)} expected. Got {list(primitives)}."
                )
    return left
