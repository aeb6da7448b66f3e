import random
import struct
from pathlib import Path

import pytest
from matplotlib.text import Text

from darts_core.genotype import Cell, Edge, Genotype, published
from darts_core.report import style

OPS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")


def random_cell(nodes, most_edges, *, seed):
    """A cell with 1 to ``most_edges`` edges a node, parallel ones among them, and a random set of concatenated states."""
    rng = random.Random(seed)
    edges = [tuple(Edge(rng.choice(OPS), rng.randrange(j + 2)) for _ in range(rng.randint(1, most_edges))) for j in range(nodes)]
    concat = [s for s in range(2, nodes + 2) if rng.random() < 0.7] or [nodes + 1]
    return Cell(tuple(edges), tuple(concat))


NAMES = ("NASNet", "AmoebaNet", "DARTS_V2", "FairDARTS_f", "GDAS_V1", "SNAS_moderate", "darts_pt_s5_1")
CELLS = {f"{name}_{kind}": published(name).cell(kind) for name in NAMES for kind in ("normal", "reduce")}
CELLS |= {f"random_{nodes}x{edges}": random_cell(nodes, edges, seed=10 * nodes + edges) for nodes in (1, 2, 3, 5, 7) for edges in (1, 2, 3)}


@pytest.fixture(params=CELLS.values(), ids=CELLS.keys())
def cell(request):
    return request.param


@pytest.fixture
def parallel():
    """Two operations from the same state into the same node, twice the same one in the second node."""
    nodes = ((Edge("sep_conv_3x3", 1), Edge("skip_connect", 1)), (Edge("sep_conv_5x5", 0), Edge("sep_conv_5x5", 0)))
    cell = Cell(nodes, (2, 3))
    return Genotype(normal=cell, reduce=cell, rule="strongest_edges")


@pytest.fixture
def figures(monkeypatch):
    """The figures that were to be saved during a test, to look into; only SVG files are written, since pixels take their time."""
    saved = []
    write = style.save

    def save(figure, path):
        saved.append(figure)
        return write(figure, path) if Path(path).suffix == ".svg" else Path(path)

    monkeypatch.setattr(style, "save", save)
    return saved


def ticks_beyond(axis):
    """The labels of ticks outside the view, which matplotlib keeps but does not draw."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [label for tick in ticks if not low - slack <= tick.get_loc() <= high + slack for label in (tick.label1, tick.label2)]


@pytest.fixture
def is_readable(figures):
    """Check the last figure: every text lies inside, and no two level texts touch."""

    def check():
        figure = figures[-1]
        with style.look():
            figure.draw_without_rendering()  # places the labels of the axes
        renderer = figure.canvas.get_renderer()
        unseen = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in ticks_beyond(axis)}
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in unseen]
        boxes = [(text, text.get_window_extent(renderer)) for text in texts]
        shown = [(text, box) for text, box in boxes if box.width > 0]
        assert shown
        for text, box in shown:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"'{text.get_text()}' leaves the figure"
        level = [(text, box) for text, box in shown if text.get_rotation() == 0]
        for k, (text, box) in enumerate(level):
            for other, other_box in level[:k]:
                slack = 1.0
                apart = (
                    box.x1 < other_box.x0 + slack
                    or other_box.x1 < box.x0 + slack
                    or box.y1 < other_box.y0 + slack
                    or other_box.y1 < box.y0 + slack
                )
                assert apart, f"'{text.get_text()}' touches '{other.get_text()}'"
        return [text.get_text() for text in texts]

    return check


@pytest.fixture
def png_size():
    """Read the width and height of a PNG file from its header."""

    def read(path):
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        return struct.unpack(">II", data[16:24])

    return read
