"""The geometry of a cell drawing, without a plotting library: boxes for states and operations, paths for wires, in inches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darts_core.genotype import Cell
from darts_core.report.cell_layers import NODE, Layers, arrange, layer_of_states, links, port_offset

Point = tuple[float, float]

LABEL_HEIGHT = 0.28
INPUT_WIDTH, INPUT_HEIGHT = 0.88, 0.42
OUTPUT_WIDTH, OUTPUT_HEIGHT, OUTPUT_PAD = 0.50, 0.62, 0.17  # PAD: from the outer wires to the box's ends
MERGE = 0.34  # from an operation to its node
CHANNEL, CHANNEL_SLOPE, CHANNEL_MOST = 0.55, 0.24, 1.5  # width of the gap between layers, by its steepest wire


@dataclass(frozen=True)
class Box:
    """A rectangle by its middle and size (inches; y grows downwards)."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """The x of the left side."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The x of the right side."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The y of the upper side."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """The y of the lower side."""
        return self.y + self.height / 2

    def overlaps(self, other: Box) -> bool:
        """Return whether the two rectangles share more than a border."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Label:
    """The operation on one edge of the genotype."""

    op: str
    src: int
    dst: int
    box: Box


@dataclass(frozen=True)
class Wire:
    """The way from a state to the operation that reads it (``label``: index into ``Layout.labels``) or to the output (None).

    Between two points of equal height it is straight, otherwise an S with level ends.
    """

    src: int
    label: int | None
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A drawing: ``states`` by number (the inputs first), one label an edge, one wire an edge and a concatenated state."""

    width: float
    height: float
    states: dict[int, Box]
    output: Box
    labels: tuple[Label, ...]
    wires: tuple[Wire, ...]


def lay_out(cell: Cell, *, label_width: float) -> Layout:
    """Return the layout of ``cell`` with operations of ``label_width`` inches."""
    layers, heights = arrange(cell)
    heights = _from_zero(layers, heights)
    spans = _spans(cell, layers, heights, label_width)
    column = layer_of_states(cell)
    y_of = [{band.state: y for band, y in zip(layer, row)} for layer, row in zip(layers, heights)]

    states = {s: Box(INPUT_WIDTH / 2, y_of[0][s], INPUT_WIDTH, INPUT_HEIGHT) for s in range(cell.inputs)}
    for s in range(cell.inputs, len(column)):
        states[s] = Box(spans[column[s]][1] - NODE / 2, y_of[column[s]][s], NODE, NODE)
    ports = heights[-1]
    span = max(ports[-1] - ports[0] + 2 * OUTPUT_PAD, OUTPUT_HEIGHT)
    left, right = spans[-1]
    output = Box((left + right) / 2, (ports[0] + ports[-1]) / 2, right - left, span)

    placed = {}
    for layer, row, (start, _) in zip(layers, heights, spans):
        for band, y in zip(layer, row):
            for k, index in enumerate(band.edges):
                dst, edge = cell.edges[index]
                box = Box(start + label_width / 2, y + port_offset(k, len(band.edges)), label_width, LABEL_HEIGHT)
                placed[index] = Label(edge.op, edge.src, dst, box)
    labels = tuple(placed[index] for index in range(len(cell.edges)))

    wires = [
        Wire(label.src, index, (*_lanes(label.src, column[label.src], column[label.dst], y_of, spans), (label.box.left, label.box.y)))
        for index, label in enumerate(labels)
    ]
    for s in cell.concat:
        wires.append(Wire(s, None, (*_lanes(s, column[s], len(layers) - 1, y_of, spans), (output.left, y_of[-1][s]))))
    bottom = max(y + band.height / 2 for layer, row in zip(layers, heights) for band, y in zip(layer, row))
    return Layout(right, max(bottom, output.bottom), states, output, labels, tuple(wires))


def _lanes(state: int, first: int, last: int, y_of: Sequence[dict[int, float]], spans: Sequence[Point]) -> list[Point]:
    """From the right side of ``state``, straight through every layer before ``last``."""
    points = [(spans[first][1], y_of[first][state])]
    for index in range(first + 1, last):
        points += [(x, y_of[index][state]) for x in spans[index]]
    return points


def _from_zero(layers: Layers, heights: Sequence[Sequence[float]]) -> list[list[float]]:
    """Move everything down until nothing lies above 0, the output's box included."""
    top = min(y - band.height / 2 for layer, row in zip(layers, heights) for band, y in zip(layer, row))
    top = min(top, heights[-1][0] - OUTPUT_PAD, (heights[-1][0] + heights[-1][-1] - OUTPUT_HEIGHT) / 2)
    return [[y - top for y in row] for row in heights]


def _spans(cell: Cell, layers: Layers, heights: Sequence[Sequence[float]], label_width: float) -> list[Point]:
    """The left and right side of every layer; the gaps between grow with the steepest wire that crosses them."""
    spans = [(0.0, INPUT_WIDTH)]
    for index in range(1, len(layers)):
        rises = [
            abs(heights[index - 1][link.start] - heights[index][link.end] - link.offset)
            for link in links(cell, layers[index - 1], layers[index])
        ]
        left = spans[-1][1] + min(CHANNEL + CHANNEL_SLOPE * max(rises, default=0.0), CHANNEL_MOST)
        is_output = index == len(layers) - 1
        spans.append((left, left + (OUTPUT_WIDTH if is_output else label_width + MERGE + NODE)))
    return spans
