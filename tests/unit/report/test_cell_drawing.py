import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter

import matplotlib
import pytest
import torch

from darts_core.genotype import Cell, Edge, Genotype, published, published_names
from darts_core.report import palette, style
from darts_core.report.cell_drawing import OP_SIZE, draw_cell, label_width
from darts_core.report.cell_layout import Box
from darts_core.spaces.enas_macro import enas_macro

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    return [element.text for element in ET.parse(path).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["DARTS_V2", "AmoebaNet", "SNAS_aggressive", "FairDARTS_f"])
@pytest.mark.parametrize("cell_type", ["normal", "reduce"])
def test_the_svg_says_each_operation_once_an_edge(name, cell_type, tmp_path, is_readable):
    genotype = published(name)
    svg, png, dot = draw_cell(genotype, cell_type, tmp_path / "new", f"cell_{cell_type}")
    is_readable()
    written = Counter(texts(svg))
    ops = Counter(edge.op for _, edge in genotype.cell(cell_type).edges)
    assert {op: written[op] for op in ops} == dict(ops)
    states = ["(0)", "(1)", *map(str, range(2, 2 + len(genotype.cell(cell_type).nodes)))]
    assert [written[state] for state in states] == [1] * len(states)
    assert written["c"] == 3
    assert [path.name for path in (svg, png, dot)] == [f"cell_{cell_type}.{suffix}" for suffix in ("svg", "png", "dot")]
    assert dot.read_text(encoding="utf-8").startswith("digraph")


def test_parallel_edges_are_both_drawn(parallel, tmp_path):
    svg, *_ = draw_cell(parallel, "normal", tmp_path, "cell")
    assert texts(svg).count("sep_conv_5x5") == 2


def test_among_layers_what_is_not_connected_is_left_out(tmp_path, is_readable):
    genotype = enas_macro(layers=6).random_genotype(torch.Generator().manual_seed(0))
    svg, _, dot = draw_cell(genotype, "layers", tmp_path, "cell")
    is_readable()
    ops = Counter(edge.op for _, edge in genotype.cell("layers").edges)
    assert ops.pop("none") > 3
    assert {op: texts(svg).count(op) for op in ops} == dict(ops)
    assert "none" not in texts(svg)
    assert "zero" not in texts(svg)
    assert '"none"' not in dot.read_text(encoding="utf-8")


def test_equal_genotypes_give_equal_bytes(parallel, tmp_path):
    first = draw_cell(parallel, "normal", tmp_path / "a", "cell")
    with matplotlib.rc_context({"font.size": 30.0, "svg.hashsalt": "other", "axes.facecolor": "black", "savefig.dpi": 50}):
        second = draw_cell(Genotype.from_dict(parallel.to_dict()), "normal", tmp_path / "b", "cell")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"date" not in first[0].read_bytes()


def test_the_pictures_differ_where_the_cells_do(tmp_path):
    drawn = [draw_cell(published(name), "normal", tmp_path, name)[0].read_bytes() for name in ("DARTS_V1", "DARTS_V2")]
    assert drawn[0] != drawn[1]


def test_the_png_is_white_and_legible(parallel, tmp_path, png_size):
    from PIL import Image

    _, png, _ = draw_cell(parallel, "reduce", tmp_path, "cell")
    width, height = png_size(png)
    assert width > 600
    assert height > 300
    with Image.open(png) as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert tuple(bytes.fromhex(palette.SEPARABLE.colour[1:])) in colours


def test_every_operation_fits_its_label():
    for name in published_names():
        for cell in published(name).cells.values():
            assert all(style.text_width(edge.op, OP_SIZE) + 0.2 <= label_width(cell) for _, edge in cell.edges)


def test_a_cell_that_ignores_an_input_and_has_a_long_operation(tmp_path, is_readable):
    cell = Cell(((Edge("an_operation_of_somebody_elses_with_a_very_long_name", 1),),), (2,))
    genotype = Genotype(normal=cell, reduce=cell, space="s", rule="a rule with <markup> & such")
    svg, *_ = draw_cell(genotype, "normal", tmp_path, "cell")
    is_readable()
    assert any("<markup> & such" in (text or "") for text in texts(svg))


def test_the_reduction_cell_says_where_its_stride_is(parallel, tmp_path):
    assert any("stride 2" in text for text in texts(draw_cell(parallel, "reduce", tmp_path, "r")[0]))
    assert not any("stride 2" in text for text in texts(draw_cell(parallel, "normal", tmp_path, "n")[0]))


def test_another_cell_type_is_an_error(parallel, tmp_path):
    with pytest.raises(ValueError, match=r"normal, reduce\. Got 'middle'"):
        draw_cell(parallel, "middle", tmp_path, "cell")


def test_boxes_that_share_a_border_do_not_overlap():
    assert not Box(0, 0, 2, 2).overlaps(Box(2, 0, 2, 2))
    assert Box(0, 0, 2, 2).overlaps(Box(1.9, 1.9, 2, 2))


def test_drawing_needs_no_pyplot():
    modules = "alphas, benchmark, cell_drawing, confusion, history"
    code = f"import sys; from darts_core.report import {modules}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_recurrent_cell_is_called_so_and_its_activations_have_colours(tmp_path):
    svg, _, dot = draw_cell(published("DARTS_RNN_V2"), "normal", tmp_path, "cell")
    assert "gated with token k" in svg.read_text(encoding="utf-8"), "no edge shows where the token comes in"
    text = dot.read_text(encoding="utf-8")
    assert 'label="Recurrent cell"' in text
    assert {palette.family(op).colour for op in ("tanh", "relu", "sigmoid", "identity")} <= set(re.findall(r"#[0-9a-f]{6}", text))
