from functools import cache
from itertools import combinations, pairwise

import pytest

from darts_core.genotype import Cell, Edge, published, published_names
from darts_core.report.cell_drawing import label_width
from darts_core.report.cell_layers import arrange, layer_of_states
from darts_core.report.cell_layout import Box, lay_out


@cache
def layout_of(cell):
    return lay_out(cell, label_width=label_width(cell))


@pytest.fixture
def layout(cell):
    return layout_of(cell)


def boxes(layout):
    named = {f"state {state}": box for state, box in layout.states.items()} | {"output": layout.output}
    return named | {f"label {k}": label.box for k, label in enumerate(layout.labels)}


def along(points, samples=24):
    """Points on a wire, as it is drawn: an S with level ends between neighbouring points."""
    for (x0, y0), (x1, y1) in pairwise(points):
        for k in range(1, samples):
            t = k / samples
            x = 1.5 * (1 - t) * t * (x0 + x1) + (1 - t) ** 3 * x0 + t**3 * x1
            yield x, y0 + (3 * (1 - t) * t**2 + t**3) * (y1 - y0)


def test_no_two_boxes_overlap(layout):
    for (name, box), (other, other_box) in combinations(boxes(layout).items(), 2):
        padded = Box(box.x, box.y, box.width + 0.05, box.height + 0.05)
        assert not padded.overlaps(other_box), f"{name} overlaps {other}"


def test_no_wire_runs_through_a_box(layout):
    named = boxes(layout)
    for wire in layout.wires:
        points = list(along(wire.points))
        for name, box in named.items():
            assert not any(box.left < x < box.right and box.top < y < box.bottom for x, y in points), f"{wire.src} runs through {name}"


def test_every_wire_leads_from_its_source_to_its_operation(layout, cell):
    assert [(label.dst, label.op, label.src) for label in layout.labels] == [(dst, edge.op, edge.src) for dst, edge in cell.edges]
    assert [wire.label for wire in layout.wires if wire.label is not None] == list(range(len(layout.labels)))
    assert sorted(wire.src for wire in layout.wires if wire.label is None) == sorted(cell.concat)
    for wire in layout.wires:
        source = layout.states[wire.src]
        assert wire.points[0] == pytest.approx((source.right, source.y))
        end = layout.output if wire.label is None else layout.labels[wire.label].box
        assert wire.points[-1][0] == pytest.approx(end.left)
        assert end.top < wire.points[-1][1] < end.bottom
        assert all(x1 > x0 for (x0, _), (x1, _) in pairwise(wire.points)), "a wire turns back"


def test_wires_of_different_states_never_share_a_way(layout):
    owner = {}
    for wire in layout.wires:
        for piece in pairwise(wire.points):
            assert owner.setdefault(piece, wire.src) == wire.src
    level = [(p, q, src) for (p, q), src in owner.items() if p[1] == q[1]]
    for (p, q, src), (r, s, other) in combinations(level, 2):
        assert src == other or p[1] != r[1] or q[0] <= r[0] or s[0] <= p[0], "two level wires lie on one another"


def test_flow_is_from_left_to_right_and_nodes_keep_their_order(layout, cell):
    states = layout.states
    assert all(label.box.left > states[label.src].right and label.box.right < states[label.dst].left for label in layout.labels)
    assert layout.output.left > max(box.right for box in states.values())
    assert states[0].x == states[1].x
    assert states[0].y < states[1].y
    for before, after in pairwise(range(2, len(cell.nodes) + 2)):
        assert (states[before].x, states[before].y) < (states[after].x, states[after].y)


def test_everything_lies_on_the_page(layout):
    for name, box in boxes(layout).items():
        assert min(box.left, box.top) > -1e-9, name
        assert box.right < layout.width + 1e-9, name
        assert box.bottom < layout.height + 1e-9, name
    for wire in layout.wires:
        assert all(0 <= y <= layout.height for _, y in wire.points)


def test_parallel_edges_have_a_label_each(parallel):
    labels = lay_out(parallel.normal, label_width=1.0).labels
    same = [label for label in labels if label.dst == 3]
    assert [label.op for label in same] == ["sep_conv_5x5"] * 2
    assert abs(same[0].box.y - same[1].box.y) > same[0].box.height


def test_layers_are_as_few_as_the_order_of_the_nodes_allows():
    assert layer_of_states(published("DARTS_V2").normal) == [0, 0, 1, 1, 1, 2]
    late = Cell(((Edge("a", 0),), (Edge("a", 2),), (Edge("a", 1),)), (4,))  # node 2 reads an input only, but comes after node 1
    assert layer_of_states(late) == [0, 0, 1, 2, 2]


def test_a_wire_that_can_be_level_is_level():
    chain = Cell(((Edge("sep_conv_3x3", 0),), (Edge("sep_conv_3x3", 2),)), (3,))
    layout = lay_out(chain, label_width=1.0)
    heights = {round(y, 4) for wire in layout.wires for _, y in wire.points}
    assert len(heights) == 1


def test_the_lanes_avoid_crossings_that_they_can_avoid():
    # The first input goes past node 0 to node 1: above node 0, because there it crosses nothing.
    cell = Cell(((Edge("a", 0), Edge("a", 1)), (Edge("a", 0), Edge("a", 2))), (3,))
    layers, _ = arrange(cell)
    assert [band.state for band in layers[1]] == [0, 2]


def crossings(layout):
    pieces = {(*piece, wire.src) for wire in layout.wires for piece in pairwise(wire.points)}
    return sum(
        src != other and (a[0], b[0]) == (c[0], d[0]) and (a[1] - c[1]) * (b[1] - d[1]) < 0
        for (a, b, src), (c, d, other) in combinations(pieces, 2)
    )


def test_every_published_cell_is_drawn_clearly():
    layouts = [layout_of(cell) for name in published_names() for cell in published(name).cells.values()]
    for layout in layouts:
        test_no_two_boxes_overlap(layout)
        test_no_wire_runs_through_a_box(layout)
    assert sum(map(crossings, layouts)) <= 210  # 238 where the search for an order starts from one order alone
