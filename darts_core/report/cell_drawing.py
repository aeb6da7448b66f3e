"""A cell as a picture: states as nodes, operations as labels on the edges; SVG, PNG and DOT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from darts_core.genotype import LAYERS, Cell, Genotype
from darts_core.report import palette, style
from darts_core.report.cell_layout import Box, Layout, Point, Wire, lay_out
from darts_core.report.graph import OUTPUT, state_name, to_dot
from darts_core.spaces.darts_rnn import NAME as RECURRENT_SPACE

MARGIN, HEAD, FOOT = 0.22, 0.72, 0.46  # inches around the graph
OP_SIZE, STATE_SIZE, INPUT_SIZE, INDEX_SIZE, LEGEND_SIZE = 9.5, 11.0, 13.0, 9.0, 8.5  # points
INPUT_WIRES = ("#8d99a6", palette.INK)  # two tones, so that the wires of the inputs can be told apart where they cross
NODE_WIRE, CONCAT_WIRE = "#4f5d6b", "#c3ccd4"
ARROW = 0.09
NUMBER_GAP = 0.06  # inches between an input's name and its number
RECURRENT_NOTE = "; c is the hidden state, k counts the tokens; c is gated with token k on its way in, and leaves as the nodes' mean"
CELL_TITLES = {"normal": "Normal cell", "reduce": "Reduction cell", LAYERS: "Layers"}


def draw_cell(genotype: Genotype, cell_type: str, folder: str | Path, stem: str) -> list[Path]:
    """Write ``stem``.svg, .png and .dot of a cell into ``folder`` and return the paths.

    Among layers an edge of ``none`` is a skip connection that is not there, and is left out. Equal genotypes give equal bytes. Raise
    ``ValueError`` for another ``cell_type``, or one that the genotype does not have.
    """
    if cell_type not in genotype.cells:
        raise ValueError(f"cell_type must be one of {', '.join(genotype.cells)}. Got {cell_type!r}.")
    cell = genotype.cell(cell_type)
    if cell_type == LAYERS:
        cell = replace(cell, nodes=tuple(tuple(edge for edge in edges if edge.op != "none") for edges in cell.nodes))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    layout = lay_out(cell, label_width=label_width(cell))
    title = "Recurrent cell" if genotype.space == RECURRENT_SPACE else CELL_TITLES[cell_type]
    note = f"space {genotype.space}, rule {genotype.rule}"
    if genotype.space == RECURRENT_SPACE:
        note += RECURRENT_NOTE
    if cell_type == "reduce":
        note += "; operations on the two inputs have stride 2"
    if cell_type == LAYERS:
        note += "; from the stem's output to the head"
    with style.look():
        families = _families(cell)
        width = 2 * MARGIN + max(layout.width, style.text_width(note, 9), sum(_legend_width(family) for family in families))
        figure = style.new_figure(width, layout.height + HEAD + FOOT)
        style.head(figure, title, note=note, left=MARGIN)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-(width - layout.width) / 2, (width + layout.width) / 2), ylim=(layout.height + FOOT, -HEAD))
        axes.set_axis_off()
        _draw(axes, cell, layout)
        _legend(axes, families, left=MARGIN - (width - layout.width) / 2, y=layout.height + FOOT / 2)
        paths = [style.save(figure, folder / f"{stem}{suffix}") for suffix in (".svg", ".png")]
    dot = folder / f"{stem}.dot"
    dot.write_text(to_dot(cell, title=title), encoding="utf-8")
    return [*paths, dot]


def label_width(cell: Cell) -> float:
    """Return the width, in inches, in which every operation of ``cell`` can be written."""
    return max(style.text_width(edge.op, OP_SIZE) for _, edge in cell.edges) + 0.26


def _draw(axes: Axes, cell: Cell, layout: Layout) -> None:
    for src in sorted({wire.src for wire in layout.wires}):
        mine = [wire for wire in layout.wires if wire.src == src]
        read = {piece for wire in mine if wire.label is not None for piece in _pieces(wire)}
        for piece in {piece: None for wire in mine for piece in _pieces(wire)}:
            if piece in read:  # a pale rim on the bend shows which of two crossing wires goes on
                _curve(axes, piece, colour=palette.PAPER, width=3.6, zorder=2 + 0.01 * src, part=(0.3, 0.85))
                _curve(axes, piece, colour=_wire_colour(src, cell), width=1.3, zorder=2.005 + 0.01 * src)
            else:
                _curve(axes, piece, colour=CONCAT_WIRE, width=1.1, zorder=1)
        for wire in mine:
            _arrow(axes, wire.points[-1], colour=CONCAT_WIRE if wire.label is None else _wire_colour(src, cell))
    for label in layout.labels:
        colour = palette.family(label.op).colour
        node = layout.states[label.dst]
        _curve(axes, ((label.box.right, label.box.y), (node.left + 0.02, node.y)), colour=colour, width=1.8, zorder=3)
        _label(axes, label.op, label.box, colour)
    for state, box in layout.states.items():
        _state(axes, state, box, cell)
    _rounded(axes, layout.output, fill=palette.WASH, line=palette.MUTED)
    _indexed(axes, OUTPUT, layout.output)


def _pieces(wire: Wire) -> list[tuple[Point, Point]]:
    return list(zip(wire.points, wire.points[1:]))


def _wire_colour(src: int, cell: Cell) -> str:
    return INPUT_WIRES[src] if src < cell.inputs else NODE_WIRE


def _curve(
    axes: Axes, ends: tuple[Point, Point], *, colour: str, width: float, zorder: float, part: tuple[float, float] = (0.0, 1.0)
) -> None:
    """Draw an S with level ends, or the ``part`` of it between two values of its parameter (0 to 1)."""
    (x0, y0), (x1, y1) = ends
    middle = (x0 + x1) / 2
    corners = np.array([(x0, y0), (middle, y0), (middle, y1), (x1, y1)])
    low, high = part
    # The blossom of a cubic at (low, low, low), (low, low, high), ... holds the control points of the part.
    points = [_blossom(corners, ts) for ts in ((low, low, low), (low, low, high), (low, high, high), (high, high, high))]
    path = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, capstyle="butt", zorder=zorder, clip_on=False))


def _blossom(points: npt.NDArray[np.float64], parameters: tuple[float, ...]) -> Point:
    for t in parameters:
        points = (1 - t) * points[:-1] + t * points[1:]
    return float(points[0, 0]), float(points[0, 1])


def _arrow(axes: Axes, tip: Point, *, colour: str) -> None:
    x, y = tip
    axes.add_patch(
        Polygon([(x, y), (x - ARROW, y - ARROW / 2), (x - ARROW, y + ARROW / 2)], facecolor=colour, linewidth=0, zorder=4, clip_on=False)
    )


def _rounded(axes: Axes, box: Box, *, fill: str, line: str, radius: float = 0.08, dash: str = "solid") -> None:
    shape = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(
        FancyBboxPatch(
            (box.left, box.top),
            box.width,
            box.height,
            boxstyle=shape,
            facecolor=fill,
            edgecolor=line,
            linewidth=1.2,
            linestyle=dash,
            zorder=5,
            clip_on=False,
        )
    )


def _label(axes: Axes, op: str, box: Box, colour: str) -> None:
    is_zero = palette.family(op) is palette.ZERO
    _rounded(axes, box, fill=palette.PAPER if is_zero else colour, line=colour, radius=0.14, dash="dashed" if is_zero else "solid")
    axes.text(
        box.x, box.y, op, color=palette.INK if is_zero else palette.PAPER, fontsize=OP_SIZE, ha="center", va="center_baseline", zorder=6
    )


def _state(axes: Axes, state: int, box: Box, cell: Cell) -> None:
    name = state_name(state, inputs=cell.inputs)
    if state < cell.inputs:
        _rounded(axes, box, fill=palette.WASH, line=palette.MUTED)
        _indexed(axes, name, box)
        return
    fill, ink = (palette.INK, palette.PAPER) if state in cell.concat else (palette.PAPER, palette.INK)
    axes.add_patch(Circle((box.x, box.y), box.width / 2, facecolor=fill, edgecolor=palette.INK, linewidth=1.4, zorder=5, clip_on=False))
    axes.text(box.x, box.y, name, color=ink, fontsize=STATE_SIZE, ha="center", va="center_baseline", zorder=6)


def _indexed(axes: Axes, name: str, box: Box) -> None:
    """Write ``c_{k-2} (0)`` as a letter, its index and a number, in plain text, which every viewer of the SVG has a font for."""
    symbol, _, number = name.replace("-", "\u2212").partition(" ")
    letter, _, index = symbol.removesuffix("}").partition("_{")
    parts = [(letter, INPUT_SIZE, 0.0), (index, INDEX_SIZE, 0.05), *([(number, INDEX_SIZE, 0.0)] if number else [])]
    widths = [style.text_width(text, size) for text, size, _ in parts]
    if number:
        widths[1] += NUMBER_GAP
    left = box.x - sum(widths) / 2
    for (text, size, down), width in zip(parts, widths):
        slope = "italic" if text == letter else "normal"
        axes.text(left, box.y + down, text, fontsize=size, fontstyle=slope, ha="left", va="center_baseline", zorder=6)
        left += width


def _families(cell: Cell) -> list[palette.Family]:
    used = {palette.family(edge.op) for _, edge in cell.edges}
    return [family for family in (*palette.RECURRENT, *palette.FAMILIES) if family in used]


def _legend_width(family: palette.Family) -> float:
    return 0.17 + style.text_width(family.name, LEGEND_SIZE) + 0.24


def _legend(axes: Axes, families: Sequence[palette.Family], *, left: float, y: float) -> None:
    for family in families:
        axes.add_patch(Circle((left + 0.06, y), 0.055, facecolor=family.colour, linewidth=0, clip_on=False))
        axes.text(left + 0.17, y, family.name, color=palette.MUTED, fontsize=LEGEND_SIZE, ha="left", va="center_baseline")
        left += _legend_width(family)
