from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from darts_core.report import style
from darts_core.report.style import EndLabel, end_labels, look, new_figure, place, save, shorten, text_width


def test_names_are_cut_with_an_ellipsis():
    assert shorten("short", 5) == "short"
    assert shorten("too long", 5) == "too\u2026"
    assert len(shorten("x" * 50, 20)) == 20


def test_a_text_is_cut_to_a_width():
    assert style.fit("short", 5.0, size=9) == "short"
    cut = style.fit("a title that is far too long", 1.0, size=9)
    assert cut.endswith("\u2026")
    assert 0.85 < text_width(cut, 9) <= 1.0


def test_a_width_in_inches_is_what_is_drawn():
    with look():
        figure = new_figure(4, 1)
        text = figure.text(0, 0.5, "sep_conv_3x3", fontsize=9.5)
        drawn = text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi
    assert text_width("sep_conv_3x3", 9.5) == pytest.approx(drawn, rel=0.03)
    assert text_width("sep_conv_3x3", 19.0) == pytest.approx(2 * text_width("sep_conv_3x3", 9.5), rel=0.01)
    assert text_width("", 9.5) == 0.0


def test_the_look_is_the_houses_and_goes_again():
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        with look():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["font.size"] == 9.5
        assert matplotlib.rcParams["axes.facecolor"] == "black"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_file_says_nothing_of_date_or_version(suffix, tmp_path):
    with look():
        figure = new_figure(1, 1)
        figure.text(0.5, 0.5, "x")
        path = save(figure, Path(tmp_path, "new", f"x{suffix}"))
    data = path.read_bytes()
    assert matplotlib.__version__.encode() not in data
    assert b"matplotlib" not in data.lower()
    assert b"<dc:date>" not in data


def test_an_svg_with_clipped_parts_is_the_same_twice(tmp_path):
    for name in ("a.svg", "b.svg"):
        with look():
            figure = new_figure(2, 2)
            figure.add_axes((0.2, 0.2, 0.7, 0.7)).plot([0, 1], [0, 1], marker="o")
            save(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_end_labels_stay_apart_in_order_and_beside_the_axes():
    with look():
        figure = new_figure(6, 3)
        axes = place(figure, left=1, top=0.5, width=3, height=2)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        end_labels(axes, [EndLabel(1, y, name, "black") for name, y in (("d", 0.99), ("c", 0.999), ("b", 1.0), ("a", 0.0), ("e", 0.2))])
        renderer = figure.canvas.get_renderer()
        extents = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
    assert sorted(extents, key=lambda name: extents[name].y0) == ["a", "e", "d", "c", "b"]
    ordered = sorted(extents.values(), key=lambda extent: extent.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(ordered))
    assert all(extent.x0 > axes.bbox.x1 for extent in ordered)
    assert ordered[-1].y1 < axes.bbox.y1 + style.DPI / 8


def test_axes_are_placed_in_inches():
    figure = new_figure(8, 4)
    axes = place(figure, left=1, top=0.5, width=5, height=2)
    x0, y0, x1, y1 = (value / figure.dpi for value in axes.bbox.extents)
    assert (x0, y0, x1, y1) == pytest.approx((1, 1.5, 6, 3.5))
