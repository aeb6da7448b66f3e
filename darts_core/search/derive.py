"""Derivation rules: weights of the operations -> a discrete cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.registry import Registry
from darts_core.supernet.shape import CellShape

SKIP = "skip_connect"
SUPPRESSED = 1e-9  # of its weight that a suppressed operation keeps: below all others on offer, above the 0 of what is not
DeriveRule = Callable[..., Genotype]
DERIVE_RULES: Registry[Genotype] = Registry("derivation rule", key="derive.rule")


@DERIVE_RULES.register("strongest_edges")
def strongest_edges(
    op_EO: Mapping[str, Tensor],
    *,
    primitives: Sequence[str],
    shape: CellShape,
    space: str,
    edge_E: Mapping[str, Tensor] | None = None,
) -> Genotype:
    """Keep for each node the incoming edges of largest weight, two in the space of DARTS, and on each the strongest operation.

    How many, and whether ``none`` counts, ``shape`` says; where all edges are kept, they stay in their order. Where edges have weights of
    their own, ``edge_E``, those of their operations are multiplied by them first (yuhuixu1993/PC-DARTS).

    ``op_EO`` holds for each cell type the softmax over all operations, ``none`` included, since its share makes edges comparable. A
    tie between edges goes to the earlier source, one between operations to the earlier primitive; the stronger edge is listed first
    (quark0/darts, cnn/model_search.py, genotype()).
    """
    if edge_E:
        op_EO = {cell_type: weights * edge_E[cell_type].unsqueeze(1) for cell_type, weights in op_EO.items()}
    cells = {cell_type: _cell(weights.tolist(), primitives, shape) for cell_type, weights in op_EO.items()}
    return Genotype.of(cells, space=space, rule="strongest_edges")


@dataclass(frozen=True)
class GateThreshold:
    """Derive what :func:`strongest_edges` would, of it only the operations whose gate is at least ``threshold`` (FairDARTS).

    In the space of DARTS a node may end with one edge or none; those without are left out, and so is what would read them, ahead of the
    choice. Where every edge is kept, one below the threshold becomes ``none``, but where that may not be derived: such an edge keeps its
    strongest operation. Where a cell would be empty, it is that of :func:`strongest_edges`, and the genotype's ``rule`` says so.
    """

    threshold: float

    def __call__(
        self,
        op_EO: Mapping[str, Tensor],
        *,
        primitives: Sequence[str],
        shape: CellShape,
        space: str,
        edge_E: Mapping[str, Tensor] | None = None,
    ) -> Genotype:
        """Return the genotype; weights of edges, where there are any, rank them and do not count against the threshold."""
        cells: dict[str, Cell] = {}
        rule = f"gates of at least {self.threshold:g}"
        for cell_type, weights in op_EO.items():
            scores = weights * edge_E[cell_type].unsqueeze(1) if edge_E else weights
            cell = self._cell(weights.tolist(), scores.tolist(), primitives, shape)
            if cell is None:
                rule += f"; the {cell_type} cell has no such gate and is that of strongest_edges"
            cells[cell_type] = _cell(scores.tolist(), primitives, shape) if cell is None else cell
        return Genotype.of(cells, space=space, rule=rule)

    def _cell(self, gates: list[list[float]], scores: list[list[float]], primitives: Sequence[str], shape: CellShape) -> Cell | None:
        usable = [o for o, name in enumerate(primitives) if name != "none"]  # its gate lets nothing through
        numbers = {state: state for state in range(shape.inputs)}
        chosen: list[tuple[Edge, ...]] = []
        start, num_reached = 0, 0
        for node, srcs in enumerate(shape.incoming):
            rows = dict(zip(srcs, range(start, start + len(srcs))))
            best = {src: max(usable, key=scores[row].__getitem__) for src, row in rows.items()}
            reached = {src: gates[row][best[src]] >= self.threshold for src, row in rows.items()}
            num_reached += sum(reached.values())
            if shape.kept_edges is None:
                stays = {src: reached[src] or not shape.may_be_none or _lacks_none(gates[row], primitives) for src, row in rows.items()}
                edges = [Edge(primitives[best[src]] if stays[src] else "none", src) for src in srcs]
            else:
                ranked = sorted((src for src in srcs if src in numbers), key=lambda src: -scores[rows[src]][best[src]])
                edges = [Edge(primitives[best[src]], numbers[src]) for src in ranked[: shape.kept_edges] if reached[src]]
            if edges:
                numbers[shape.inputs + node] = shape.inputs + len(chosen)
                chosen.append(tuple(edges))
            start += len(srcs)
        states = range(shape.inputs, shape.inputs + len(chosen))
        concat = tuple(states if shape.joined_nodes is None else states[-shape.joined_nodes :])
        return Cell(tuple(chosen), concat, shape.inputs) if chosen and num_reached else None


@dataclass(frozen=True)
class SkipLimited:
    """Derive what :func:`strongest_edges` would with at most ``limit`` skip connections in the normal cell (P-DARTS, arXiv:1904.12760).

    While there are more, the weakest of them is suppressed and the cell derived again: another operation may take the edge, or another
    edge its place. Where an edge offers nothing else and is needed, the skip connection stays, and the genotype's ``rule`` says so.
    """

    limit: int

    def __call__(
        self,
        op_EO: Mapping[str, Tensor],
        *,
        primitives: Sequence[str],
        shape: CellShape,
        space: str,
        edge_E: Mapping[str, Tensor] | None = None,
    ) -> Genotype:
        """Return the genotype."""
        scores = {c: (weights * edge_E[c].unsqueeze(1) if edge_E else weights).tolist() for c, weights in op_EO.items()}
        cells = {cell_type: _cell(rows, primitives, shape) for cell_type, rows in scores.items()}
        main = "normal" if "normal" in cells else next(iter(cells))  # a chain has layers of one type alone
        rule, suppressed = f"strongest_edges with at most {self.limit} skip connections", set[tuple[int, int]]()
        edges = {ends: number for number, ends in enumerate(shape.sources)}
        while sum(edge.op == SKIP for _, edge in cells[main].edges) > self.limit:
            skips = {(edge.src, dst) for dst, edge in cells[main].edges if edge.op == SKIP} - suppressed
            if not skips:
                rule += f", of which the {main} cell has more, for their edges offer nothing else"
                break
            skip = primitives.index(SKIP)
            weakest = min(skips, key=lambda ends: scores[main][edges[ends]][skip])
            suppressed.add(weakest)
            scores[main][edges[weakest]][skip] *= SUPPRESSED
            cells[main] = _cell(scores[main], primitives, shape)
        return Genotype.of(cells, space=space, rule=rule)


def _lacks_none(weight_O: Sequence[float], primitives: Sequence[str]) -> bool:
    """Return whether an edge does not offer ``none``, which others do: there it weighs nothing at all."""
    return "none" in primitives and weight_O[primitives.index("none")] == 0.0


def _cell(weights: list[list[float]], primitives: Sequence[str], shape: CellShape) -> Cell:
    usable = shape.choosable(primitives)
    if not usable:
        raise ValueError(f"space.primitives must hold an operation beside 'none' to derive a cell from. Got {list(primitives)}.")
    chosen, start = [], 0
    for srcs in shape.incoming:
        rows = weights[start : start + len(srcs)]
        best = [max(usable, key=lambda o, row=row: row[o]) for row in rows]  # type: ignore[misc]
        kept = list(range(len(srcs)))
        if shape.kept_edges is not None:
            kept = sorted(kept, key=lambda k: -rows[k][best[k]])[: shape.kept_edges]
        chosen.append(tuple(Edge(primitives[best[k]], srcs[k]) for k in kept))
        start += len(srcs)
    return Cell(tuple(chosen), shape.concat, shape.inputs)
