"""Derivation rules: weights of the operations -> a discrete cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.registry import Registry

DeriveRule = Callable[..., Genotype]
DERIVE_RULES: Registry[Genotype] = Registry("derivation rule", key="derive.rule")


@DERIVE_RULES.register("strongest_edges")
def strongest_edges(
    op_EO: Mapping[str, Tensor], *, primitives: Sequence[str], nodes: int, space: str, edge_E: Mapping[str, Tensor] | None = None
) -> Genotype:
    """Keep for each node the two incoming edges of largest weight, and on each the strongest operation; ``none`` never counts.

    Where edges have weights of their own, ``edge_E``, those of their operations are multiplied by them first (yuhuixu1993/PC-DARTS).

    ``op_EO`` holds for each cell type the softmax over all operations, ``none`` included, since its share makes edges comparable. A
    tie between edges goes to the earlier source, one between operations to the earlier primitive; the stronger edge is listed first
    (quark0/darts, cnn/model_search.py, genotype()).
    """
    if edge_E:
        op_EO = {cell_type: weights * edge_E[cell_type].unsqueeze(1) for cell_type, weights in op_EO.items()}
    cells = {cell_type: _cell(weights.tolist(), primitives, nodes) for cell_type, weights in op_EO.items()}
    return Genotype(normal=cells["normal"], reduce=cells["reduce"], space=space, rule="strongest_edges")


@dataclass(frozen=True)
class GateThreshold:
    """Keep for each node at most the two strongest incoming edges, of these the ones whose gate is at least ``threshold`` (FairDARTS).

    Nodes may end with one edge or none; those without are left out, and so is what would read them, ahead of the choice. Where a cell
    would be empty, its edges are the strongest two of each node, and the genotype's ``rule`` says so.
    """

    threshold: float

    def __call__(
        self,
        op_EO: Mapping[str, Tensor],
        *,
        primitives: Sequence[str],
        nodes: int,
        space: str,
        edge_E: Mapping[str, Tensor] | None = None,
    ) -> Genotype:
        """Return the genotype; weights of edges, where there are any, rank them and do not count against the threshold."""
        cells: dict[str, Cell] = {}
        rule = f"gates of at least {self.threshold:g}"
        for cell_type, weights in op_EO.items():
            scores = weights * edge_E[cell_type].unsqueeze(1) if edge_E else weights
            cell = self._cell(weights.tolist(), scores.tolist(), primitives, nodes)
            if cell is None:
                rule += f"; none in the {cell_type} cell, so its strongest_edges"
            cells[cell_type] = _cell(scores.tolist(), primitives, nodes) if cell is None else cell
        return Genotype(normal=cells["normal"], reduce=cells["reduce"], space=space, rule=rule)

    def _cell(self, gates: list[list[float]], scores: list[list[float]], primitives: Sequence[str], nodes: int) -> Cell | None:
        numbers, chosen, start = {0: 0, 1: 1}, [], 0
        for node in range(nodes):
            rows = range(start, start + node + 2)
            best = [_strongest(scores[row], primitives) for row in rows]
            ranked = sorted((src for src in range(node + 2) if src in numbers), key=lambda src: -scores[start + src][best[src]])
            kept = [src for src in ranked[:2] if gates[start + src][best[src]] >= self.threshold]
            if kept:
                chosen.append(tuple(Edge(primitives[best[src]], numbers[src]) for src in kept))
                numbers[node + 2] = len(chosen) + 1
            start += node + 2
        return Cell(tuple(chosen), tuple(range(2, len(chosen) + 2))) if chosen else None


def _cell(weights: list[list[float]], primitives: Sequence[str], nodes: int) -> Cell:
    chosen, start = [], 0
    for node in range(nodes):
        rows = weights[start : start + node + 2]
        best = [_strongest(row, primitives) for row in rows]
        ranked = sorted(range(len(rows)), key=lambda src: -rows[src][best[src]])
        chosen.append(tuple(Edge(primitives[best[src]], src) for src in ranked[:2]))
        start += node + 2
    return Cell(tuple(chosen), tuple(range(2, nodes + 2)))


def _strongest(weights: Sequence[float], primitives: Sequence[str]) -> int:
    """Return the index of the strongest operation of an edge beside ``none``, of equals the first."""
    usable = [o for o, name in enumerate(primitives) if name != "none"]
    if not usable:
        raise ValueError(f"space.primitives must hold an operation beside 'none' to derive a cell from. Got {list(primitives)}.")
    return max(usable, key=weights.__getitem__)
