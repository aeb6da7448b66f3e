"""A cell as a graph: for networkx, and as DOT source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darts_core.genotype import Cell
from darts_core.report.palette import family

if TYPE_CHECKING:
    import networkx

OUTPUT = "c_{k}"
CONCAT = "concat"


def state_name(state: int, *, inputs: int = 2) -> str:
    """Return the name of a state: its number, as genotypes, ``space.edges`` and the tables have it; inputs have their usual name, too.

    Of two they are ``c_{k-2} (0)`` and ``c_{k-1} (1)``, and the nodes follow from ``2`` on; a single one is ``c_{k-1} (0)``.
    """
    return f"{('c_{k-2}', 'c_{k-1}')[state - inputs]} ({state})" if state < inputs else str(state)


def to_networkx(cell: Cell) -> networkx.MultiDiGraph[str]:
    """Return the cell as a directed graph that may hold two operations between one pair of nodes.

    Nodes: ``c_{k-2} (0)``, ``c_{k-1} (1)``, ``2`` ... ``n+1`` (:func:`state_name`), ``c_{k}``, with the attribute ``role`` (input, node,
    output).
    Edges: attribute ``op``, the operation, or ``concat`` on the way to the output.
    """
    import networkx

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    name = _names(cell)
    for state in range(len(cell.nodes) + cell.inputs):
        graph.add_node(name[state], role="input" if state < cell.inputs else "node")
    graph.add_node(OUTPUT, role="output")
    for state, edge in cell.edges:
        graph.add_edge(name[edge.src], name[state], op=edge.op)
    for state in cell.concat:
        graph.add_edge(name[state], OUTPUT, op=CONCAT)
    return graph


def to_dot(cell: Cell, *, title: str) -> str:
    """Return the DOT source of the cell, from left to right, one colour a family of operations."""
    lines = [
        f"digraph {_quoted(title)} {{",
        f'  graph [rankdir=LR, label={_quoted(title)}, labelloc=t, labeljust=l, fontname="Helvetica", nodesep=0.35, ranksep=0.9];',
        '  node [fontname="Helvetica", fontsize=12, shape=circle, style=filled, fillcolor="#f2f4f6", color="#66737f"];',
        '  edge [fontname="Helvetica", fontsize=10, arrowsize=0.7];',
    ]
    name = _names(cell)
    lines += [f"  {_quoted(box)} [shape=box];" for box in (*name[: cell.inputs], OUTPUT)]
    lines += [f"  {_quoted(node)};" for node in name[cell.inputs :]]
    for state, edge in cell.edges:
        colour = _quoted(family(edge.op).colour)
        ends = f"{_quoted(name[edge.src])} -> {_quoted(name[state])}"
        lines.append(f"  {ends} [label={_quoted(edge.op)}, color={colour}, fontcolor={colour}];")
    for state in cell.concat:
        lines.append(f'  {_quoted(name[state])} -> {_quoted(OUTPUT)} [color="#b0bac4"];')
    return "\n".join([*lines, "}", ""])


def _names(cell: Cell) -> list[str]:
    return [state_name(state, inputs=cell.inputs) for state in range(len(cell.nodes) + cell.inputs)]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
    return f'"{escaped}"'
