"""Derivation rules: weights of the operations -> a discrete cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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


def _cell(weights: list[list[float]], primitives: Sequence[str], nodes: int) -> Cell:
    usable = [o for o, name in enumerate(primitives) if name != "none"]
    if not usable:
        raise ValueError(f"space.primitives must hold an operation beside 'none' to derive a cell from. Got {list(primitives)}.")
    chosen, start = [], 0
    for node in range(nodes):
        rows = weights[start : start + node + 2]
        best = [max(usable, key=lambda o, row=row: row[o]) for row in rows]  # type: ignore[misc]
        ranked = sorted(range(len(rows)), key=lambda src: -rows[src][best[src]])
        chosen.append(tuple(Edge(primitives[best[src]], src) for src in ranked[:2]))
        start += node + 2
    return Cell(tuple(chosen), tuple(range(2, nodes + 2)))
