"""Choosing each operation, and then each edge, by how much the supernet misses it (DARTS-PT, arXiv:2108.04392)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.search.select import Evaluate, Tune
from darts_core.spaces.space import Space
from darts_core.supernet.kept import Kept
from darts_core.supernet.policy import cheapest
from darts_core.supernet.supernet import Supernet

LOG = logging.getLogger(__name__)
Plan = Mapping[str, Kept]
"""What is left of each cell type."""

Decision = Callable[[Plan, str, int], Plan]
"""(plan, cell type, an edge or a node of it) -> the plan after it."""


@dataclass(frozen=True, kw_only=True)
class MostMissed:
    """Keep on each edge, in random order, the operation without which the supernet is worst; then cut the edges that it misses least.

    Each decision is made in every cell type, holds for all that follow, and is followed by ``tune_epochs`` epochs of training. Where
    weights are drawn, the supernet is judged with the expected ones. Edges are cut, node by node in random order, until as many are left
    as the space derives. Of equals the first is kept. Recalled [M]: that what is left is not scaled up for what is tried without.
    """

    tune_epochs: int
    batches: int | None = None
    by_loss: bool = False
    rule: str = "perturbation"

    def __call__(
        self, supernet: Supernet, space: Space, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]:
        """Return the genotype and the quality that the supernet has when nothing else is left of it."""
        edges, types = len(space.shape.sources), supernet.cell_types
        plan: Plan = {name: Kept(operations=len(supernet.primitives), left=offer.ops) for name, offer in supernet.offers.items()}
        if supernet.pruned is not None:
            plan = {cell_type: replace(kept, rescales=False) for cell_type, kept in supernet.pruned.kept.items()}
        decide = _Decide(supernet, space, evaluate)
        turns: list[tuple[Decision, dict[str, int]]] = [(decide.operation, turn) for turn in _lock_step(types, range(edges), generator)]
        turns += [(decide.sources, turn) for turn in _lock_step(types, decide.crowded_nodes(), generator)]
        epochs = (len(turns) - 1) * self.tune_epochs
        for number, (decision, places) in enumerate(turns):
            for epoch in range(max(0, number - 1) * self.tune_epochs, number * self.tune_epochs):
                with supernet.keeping(plan):
                    tune(epoch, epochs)
            for cell_type, place in places.items():
                plan = decision(plan, cell_type, place)
        cells = {cell_type: _cell(kept, supernet, space) for cell_type, kept in plan.items()}
        return Genotype.of(cells, space=space.name, rule=self.rule), decide.quality(plan)


class _Decide:
    """The two kinds of decisions."""

    def __init__(self, supernet: Supernet, space: Space, evaluate: Evaluate) -> None:
        self.supernet = supernet
        self.space = space
        self.evaluate = evaluate
        self.usable = space.shape.choosable(supernet.primitives)

    def quality(self, plan: Plan) -> float:
        with self.supernet.keeping(plan), torch.no_grad(), self.supernet.weighing(self.supernet.op_weights()):
            return self.evaluate()

    def operation(self, plan: Plan, cell_type: str, edge: int) -> Plan:
        """Choose the operation of an edge."""
        kept = plan[cell_type]
        offered = [o for o in self.usable if o in self.supernet.offers[cell_type].ops[edge]]
        usable = [o for o in offered if o in kept.left[edge]] or offered[:1]
        best = usable[0]
        if len(usable) > 1:
            scores = {o: self.quality({**plan, cell_type: kept.without(edge, o)}) for o in usable}
            best = min(usable, key=scores.__getitem__)
            name, where = self.supernet.primitives[best], self.space.edge_names[edge]
            told = self.supernet.quality_text(scores[best])
            LOG.info("search: %s cell, edge %s: %s, without which it has %s.", cell_type, where, name, told)
        return {**plan, cell_type: kept.choosing(edge, best)}

    def crowded_nodes(self) -> list[int]:
        """Return the nodes that more edges lead to than the space derives."""
        limit = self.space.shape.kept_edges
        return [] if limit is None else [node for node, count in enumerate(self.space.shape.fan_in) if count > limit]

    def sources(self, plan: Plan, cell_type: str, node: int) -> Plan:
        """Cut edges of a node until as many are left as the space derives."""
        fan_in, limit = self.space.shape.fan_in, self.space.shape.kept_edges
        assert limit is not None
        start = sum(fan_in[:node])
        edges = list(range(start, start + fan_in[node]))
        while len(edges) > limit:
            offered = self.supernet.offers[cell_type].ops
            idle = {edge: cheapest(self.supernet.primitives, offered[edge]) for edge in edges}
            cut = {edge: {**plan, cell_type: plan[cell_type].cutting(edge, idle[edge])} for edge in edges}
            scores = {edge: self.quality(without) for edge, without in cut.items()}
            least = max(reversed(edges), key=scores.__getitem__)
            edges, plan = [edge for edge in edges if edge != least], cut[least]
            told = self.supernet.quality_text(scores[least])
            LOG.info("search: %s cell, edge %s is cut, without which it has %s.", cell_type, self.space.edge_names[least], told)
        return plan


def _lock_step(cell_types: Sequence[str], places: Sequence[int], generator: torch.Generator) -> list[dict[str, int]]:
    """Return a turn for each of ``places``: one of them for every cell type, which has an order of its own."""
    orders = [torch.randperm(len(places), generator=generator).tolist() for _ in cell_types]
    return [{cell_type: places[order[turn]] for cell_type, order in zip(cell_types, orders)} for turn in range(len(places))]


def _cell(kept: Kept, supernet: Supernet, space: Space) -> Cell:
    chosen: dict[int, list[Edge]] = {dst: [] for dst in range(space.shape.inputs, space.shape.inputs + space.shape.nodes)}
    for edge, (src, dst) in enumerate(space.shape.sources):
        if edge not in kept.cut:
            chosen[dst].append(Edge(supernet.primitives[kept.left[edge][0]], src))
    return Cell(tuple(tuple(edges) for edges in chosen.values()), space.shape.concat, space.shape.inputs)
