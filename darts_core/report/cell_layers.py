"""A cell as layers of bands: which state stands where, and in what order, so that few wires cross.

A *band* is a horizontal strip of one layer: either a node with its operations, or a lane that a wire passes through. As bands of a
layer never overlap and wires bend only between layers, no wire can run over a node or an operation. The order is found by local
search over Sugiyama-style layers (Sugiyama, Tagawa, Toda 1981), with wires of one source counted as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from darts_core.genotype import Cell
from darts_core.report.spacing import spread

PITCH = 0.38  # inches between operations of one node
NODE = 0.40  # diameter of a node
NODE_GAP = 0.16  # free height around a node's operations
LANE = 0.20  # height of a lane
INPUT = 0.62  # least height of an input's band
INPUT_SHARE = 0.3  # of the tallest layer's nodes: inputs further apart make crossings steeper
CROSSING_COST = 1.0  # inches of vertical wire that one crossing may cost


@dataclass(frozen=True)
class Band:
    """One strip of a layer: ``edges`` are the indices into ``Cell.edges`` that end here; a lane or an input has none."""

    state: int
    height: float
    edges: tuple[int, ...] = ()
    is_lane: bool = False


@dataclass(frozen=True)
class Link:
    """A wire between neighbouring layers: from band ``start`` to band ``end``, ``offset`` below that band's middle.

    ``strength`` is how much it wants to be straight: most within a long wire (Gansner et al. 1993 weigh 1, 2, 8 likewise).
    """

    start: int
    end: int
    offset: float
    state: int
    strength: float


Layers = tuple[tuple[Band, ...], ...]


def layer_of_states(cell: Cell) -> list[int]:
    """Return each state's layer (inputs 0): as far left as its sources allow, but never left of an earlier node."""
    layers = [0] * cell.inputs
    for edges in cell.nodes:
        layers.append(max(layers[-1], 1 + max(layers[edge.src] for edge in edges)))
    return layers


def arrange(cell: Cell) -> tuple[Layers, list[list[float]]]:
    """Return the layers, bands from top to bottom, and the height of each band's middle (inches, downwards).

    The last layer holds one lane a concatenated state. Nodes of a layer stay in their order; lanes move.
    """
    count = len(cell.nodes) + cell.inputs
    starts = (frozenset[int](), frozenset({1}), frozenset(range(1, count)), frozenset(range(count)))
    begun = dict.fromkeys(_sort_edges(cell, _initial(cell, below=below)) for below in starts)
    found = dict.fromkeys(_improve(cell, layers) for layers in begun)
    placed = [(layers, _place(cell, layers, sweeps=200)) for layers in found]
    return min(placed, key=lambda pair: round(_cost(pair[0], pair[1], cell), 6))


def _improve(cell: Cell, layers: Layers) -> Layers:
    """Move single lanes as long as that makes the drawing cheaper."""
    best, cost = layers, _cost(layers, _place(cell, layers, sweeps=4), cell)
    improved = True
    while improved:
        improved = False
        for index in range(1, len(layers) - 1):
            for moved in _moves(best[index]):
                candidate = _sort_edges(cell, (*best[:index], moved, *best[index + 1 :]))
                candidate_cost = _cost(candidate, _place(cell, candidate, sweeps=4), cell)
                if candidate_cost < cost - 1e-6:
                    best, cost, improved = candidate, candidate_cost, True
    return best


def links(cell: Cell, left: Sequence[Band], right: Sequence[Band]) -> list[Link]:
    """Return the wires from the bands of one layer to those of the next."""
    start = {band.state: i for i, band in enumerate(left)}
    found = []
    for end, band in enumerate(right):
        for k, index in enumerate(band.edges):
            source = cell.edges[index][1].src
            if source in start:
                is_long = left[start[source]].is_lane
                found.append(Link(start[source], end, port_offset(k, len(band.edges)), source, 2.0 if is_long else 1.0))
        if not band.edges:
            is_long = left[start[band.state]].is_lane
            found.append(Link(start[band.state], end, 0.0, band.state, 8.0 if is_long else 2.0))
    return found


def port_offset(position: int, count: int) -> float:
    """Return how far below its node's middle the operation at ``position`` of ``count`` lies, in inches."""
    return (position - (count - 1) / 2) * PITCH


def _initial(cell: Cell, *, below: frozenset[int]) -> Layers:
    """The layers with every lane above the nodes, but those of the states ``below`` under them."""
    layer = layer_of_states(cell)
    depth = layer[-1]
    last_use = list(layer)
    for state, edge in cell.edges:
        last_use[edge.src] = max(last_use[edge.src], layer[state])
    for state in cell.concat:
        last_use[state] = depth + 1
    edges: dict[int, list[int]] = {}
    for index, (state, _) in enumerate(cell.edges):
        edges.setdefault(state, []).append(index)
    tallest = max(sum(_height(edges[s]) for s in edges if layer[s] == k) for k in range(1, depth + 1))
    height = max(INPUT, INPUT_SHARE * tallest)
    layers: list[tuple[Band, ...]] = [tuple(Band(s, height) for s in range(cell.inputs))]
    for depth_here in range(1, depth + 1):
        lanes = [Band(s, LANE, is_lane=True) for s in range(len(layer)) if layer[s] < depth_here < last_use[s]]
        nodes = [Band(s, _height(edges[s]), tuple(edges[s])) for s in range(cell.inputs, len(layer)) if layer[s] == depth_here]
        layers.append((*(b for b in lanes if b.state not in below), *nodes, *(b for b in lanes if b.state in below)))
    return (*layers, tuple(Band(s, LANE, is_lane=True) for s in cell.concat))


def _height(edges: Sequence[int]) -> float:
    return max(len(edges) * PITCH, NODE) + NODE_GAP


def _sort_edges(cell: Cell, layers: Layers) -> Layers:
    """Put each node's operations, and the output's wires, in the order of their sources one layer to the left."""
    ordered = [layers[0]]
    for layer in layers[1:-1]:
        rank = {band.state: i for i, band in enumerate(ordered[-1])}
        ordered.append(tuple(replace(b, edges=tuple(sorted(b.edges, key=lambda e: (rank[cell.edges[e][1].src], e)))) for b in layer))
    rank = {band.state: i for i, band in enumerate(ordered[-1])}
    return (*ordered, tuple(sorted(layers[-1], key=lambda band: rank[band.state])))


def _moves(layer: tuple[Band, ...]) -> list[tuple[Band, ...]]:
    """Every order that differs by one lane put elsewhere."""
    moves = []
    for i, band in enumerate(layer):
        if not band.edges:
            rest = layer[:i] + layer[i + 1 :]
            moves += [(*rest[:j], band, *rest[j:]) for j in range(len(layer)) if j != i]
    return moves


def _place(cell: Cell, layers: Layers, *, sweeps: int) -> list[list[float]]:
    heights = []
    for layer in layers:
        y, row = -sum(band.height for band in layer) / 2, []
        for band in layer:
            row.append(y + band.height / 2)
            y += band.height
        heights.append(row)
    channels = [links(cell, left, right) for left, right in pairwise(layers)]
    order = [*range(1, len(layers)), *range(len(layers) - 2, -1, -1)]
    for _ in range(sweeps):
        before = [y for row in heights for y in row]
        for index in order:
            heights[index] = _settle(index, layers[index], heights, channels)
        if max(abs(y - was) for y, was in zip((y for row in heights for y in row), before)) < 1e-6:
            break
    return heights


def _settle(index: int, layer: Sequence[Band], heights: Sequence[Sequence[float]], channels: Sequence[Sequence[Link]]) -> list[float]:
    strengths = [1e-3] * len(layer)  # a band without wires stays where it is
    pulls = [1e-3 * y for y in heights[index]]
    if index > 0:
        for link in channels[index - 1]:
            strengths[link.end] += link.strength
            pulls[link.end] += link.strength * (heights[index - 1][link.start] - link.offset)
    if index < len(channels):
        for link in channels[index]:
            strengths[link.start] += link.strength
            pulls[link.start] += link.strength * (heights[index + 1][link.end] + link.offset)
    gaps = [(a.height + b.height) / 2 for a, b in pairwise(layer)]
    return spread([pull / strength for pull, strength in zip(pulls, strengths)], gaps, strengths)


def _cost(layers: Layers, heights: Sequence[Sequence[float]], cell: Cell) -> float:
    cost = 0.0
    for index in range(len(layers) - 1):
        wires = [
            (heights[index][link.start], heights[index + 1][link.end] + link.offset, link.state)
            for link in links(cell, layers[index], layers[index + 1])
        ]
        cost += sum(abs(a - b) for a, b, _ in wires)
        crossings = sum(1 for v, w in combinations(wires, 2) if v[2] != w[2] and (v[0] - w[0]) * (v[1] - w[1]) < 0)
        cost += CROSSING_COST * crossings
    return cost
