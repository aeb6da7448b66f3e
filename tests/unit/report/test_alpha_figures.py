import math

import pandas as pd
import pytest

from darts_core.report.alphas import plot_curves, plot_heatmap, wide

OPS = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
EDGES = [f"{src}-{dst}" for dst in range(2, 6) for src in range(dst)]


def table(epochs=3, ops=OPS, edges=EDGES, cells=("normal", "reduce")):
    """Weights that differ in every row: (epoch + edge + operation) / 100, and ten times that in the reduction cell."""
    return pd.DataFrame(
        [
            {"epoch": epoch, "cell": cell, "edge": edge, "op": op, "weight": (epoch + e + o) / (100 if cell == "normal" else 1000)}
            for epoch in range(1, epochs + 1)
            for cell in cells
            for e, edge in enumerate(edges)
            for o, op in enumerate(ops)
        ]
    )


def test_wide_is_the_mean_over_the_edges_in_the_order_of_the_table():
    means = wide(table(), "normal")
    assert list(means.columns) == ["epoch", *OPS]
    assert means["epoch"].tolist() == [1, 2, 3]
    assert means["none"].tolist() == pytest.approx([(epoch + 6.5) / 100 for epoch in (1, 2, 3)])  # the mean of 0 ... 13 is 6.5
    assert means.loc[0, "dil_conv_5x5"] == pytest.approx((1 + 6.5 + 7) / 100)
    assert wide(table(), "reduce").loc[0, "none"] == pytest.approx((1 + 6.5) / 1000)


def test_wide_leaves_out_what_is_missing_and_keeps_a_row_that_is_empty():
    frame = table(epochs=2, ops=["a", "b"], edges=["0-2", "1-2"])
    frame.loc[(frame["epoch"] == 1) & (frame["edge"] == "0-2"), "weight"] = math.nan
    frame.loc[(frame["epoch"] == 2) & (frame["op"] == "b"), "weight"] = math.nan
    means = wide(frame, "normal")
    assert means.loc[0, "a"] == pytest.approx(0.02)  # edge 1-2 alone
    assert math.isnan(means.loc[1, "b"])
    assert len(means) == 2


@pytest.mark.parametrize(
    ("frame", "cell", "message"),
    [
        (table(), "middle", r"one of the cells \['normal', 'reduce'\] expected. Got 'middle'"),
        (table().drop(columns="op"), "normal", r"Missing \['op'\]"),
    ],
)
def test_a_wrong_table_is_an_error(frame, cell, message):
    with pytest.raises(ValueError, match=message):
        wide(frame, cell)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_curves_have_a_line_an_operation_and_its_name_beside_it(epochs, tmp_path, figures, is_readable):
    plot_curves(table(epochs=epochs), "normal", tmp_path / "curves.png")
    texts = is_readable()
    assert set(OPS) <= set(texts)
    assert "Normal cell: mean weight of each operation" in texts
    drawn = [line for line in figures[0].axes[0].lines if line.get_transform() == figures[0].axes[0].transData]
    if epochs == 1:  # a line of one point would be invisible
        assert sum(len(line.get_xdata()) == 1 and line.get_marker() == "o" for line in drawn) == len(OPS)
    else:
        assert sum(len(line.get_xdata()) == epochs for line in drawn) == len(OPS)


def test_curves_mark_where_a_phase_begins(tmp_path, figures, is_readable):
    plot_curves(table(epochs=6), "normal", tmp_path / "curves.png", phases=[3, 5])
    assert [line.get_xdata()[0] for line in figures[0].axes[0].lines if [*line.get_ydata()] == [0, 1]] == [2.5, 4.5]
    assert "mean over the edges; dashed: the next phase begins" in is_readable()


def test_curves_without_any_value_are_an_empty_frame(tmp_path, is_readable):
    plot_curves(table().assign(weight=math.nan), "normal", tmp_path / "curves.png")
    assert not set(OPS) & set(is_readable())


def test_the_heatmap_shows_the_weights_of_its_epoch(tmp_path, is_readable):
    plot_heatmap(table(), "normal", 2, tmp_path / "heatmap.png")
    texts = is_readable()
    assert [text for text in texts if text.startswith("0.")] == [f"{(2 + e + o) / 100:.3f}" for e in range(14) for o in range(8)]
    assert {"$c_{k-2}$ (0) \u2192 2", "$c_{k-1}$ (1) \u2192 5", "3 \u2192 4"} <= set(texts)
    assert "after epoch 2; bold: the strongest of an edge" in texts


def test_the_strongest_operation_is_bold(tmp_path, figures):
    plot_heatmap(table(), "normal", 1, tmp_path / "heatmap.png")
    bold = [text.get_text() for text in figures[0].axes[0].texts if text.get_fontweight() == "bold"]
    assert bold == [f"{(1 + e + 7) / 100:.3f}" for e in range(14)]


def test_the_heatmap_says_where_a_weight_is_missing_and_takes_any_edge_name(tmp_path, is_readable):
    frame = table(edges=["0-2", "layer 3"], ops=["a", "b"])
    frame.loc[(frame["edge"] == "layer 3") & (frame["op"] == "a"), "weight"] = math.nan
    plot_heatmap(frame, "normal", 1, tmp_path / "heatmap.png")
    texts = is_readable()
    assert texts.count("\u2013") == 1
    assert "layer 3" in texts


def test_an_epoch_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"epochs 1 to 3 expected. Got 4"):
        plot_heatmap(table(), "normal", 4, tmp_path / "heatmap.png")


def test_the_same_table_gives_the_same_bytes(tmp_path, png_size):
    paths = [plot_heatmap(table(), "reduce", 1, tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert min(png_size(paths[0])) > 800


def test_the_curves_are_written(tmp_path, png_size):
    assert min(png_size(plot_curves(table(), "normal", tmp_path / "new" / "curves.png"))) > 600
