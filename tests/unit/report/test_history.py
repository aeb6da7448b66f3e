import itertools
import math

import numpy as np
import pandas as pd
import pytest

from darts_core.report.history import plot_histories, plot_history


def history(epochs=20, *, best=95.0):
    epoch = np.arange(1, epochs + 1)
    accuracy = best * (1 - 0.8 * np.exp(-(epoch - 1) / 3))
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "train_acc": accuracy + 1,
            "valid_loss": 2.2 / epoch,
            "valid_acc": accuracy,
            "lr": 0.025 * (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2,
            "entropy_normal": 1.0,
        }
    )


@pytest.mark.parametrize("epochs", [1, 2, 600])
def test_three_panels_whatever_the_number_of_epochs(epochs, tmp_path, figures, is_readable):
    frame = history(epochs)
    plot_history(frame, tmp_path / "curves.png", title="Retrain: searched")
    texts = is_readable()
    assert [axes.get_xlabel() for axes in figures[0].axes] == ["epoch"] * 3
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["cross entropy (nats)", "top-1 accuracy (%)", "learning rate"]
    assert texts.count("train") == texts.count("valid") == 2
    assert "Retrain: searched" in texts
    assert f"highest validation accuracy {frame['valid_acc'].max():.2f} % in epoch {frame['valid_acc'].argmax() + 1}" in texts


def test_a_column_that_is_missing_or_empty_takes_its_panel_along(tmp_path, figures, is_readable):
    frame = history().drop(columns=["lr", "valid_acc"]).assign(train_acc=math.nan)
    plot_history(frame, tmp_path / "curves.png", title="Search")
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["cross entropy (nats)"]
    assert not any("highest" in text for text in is_readable())


def test_where_a_phase_begins_stands_a_line(tmp_path, figures, is_readable):
    frame = history(9).assign(phase=[1, 1, 1, 2, 2, 2, 3, 3, 3])
    plot_history(frame, tmp_path / "curves.png", title="Search")
    for axes in figures[0].axes:
        assert [line.get_xdata()[0] for line in axes.lines if [*line.get_ydata()] == [0, 1]] == [3.5, 6.5]
    assert any(text.endswith("; dashed: the next phase begins") for text in is_readable())


def test_an_epoch_that_went_back_is_marked(tmp_path, figures, is_readable):
    frame = history(9).assign(rolled_back=[0, 0, 0, 1, 0, 0, 0, 1, 0])
    frame.loc[frame["rolled_back"] == 1, "train_loss"] = math.nan
    plot_history(frame, tmp_path / "curves.png", title="Retraining")
    for axes in figures[0].axes:
        assert [line.get_xdata()[0] for line in axes.lines if [*line.get_ydata()] == [0, 1]] == [4, 8]
    assert any(text.endswith("; dotted: the loss was no number, back to the best epoch's weights") for text in is_readable())


@pytest.mark.parametrize("first", [90.0, 300.0, 1_400.0, 8_000.0, 1e6, 1e12])
def test_perplexities_of_any_range_can_be_read(first, tmp_path, figures, is_readable):
    epoch = np.arange(1, 21)
    ppl = 50.0 * (first / 50.0) ** np.exp(-(epoch - 1) / 5)
    plot_history(pd.DataFrame({"epoch": epoch, "valid_ppl": ppl}), tmp_path / "curves.png", title="Retraining")
    is_readable()
    (axes,) = figures[0].axes
    figures[0].canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
    boxes = sorted((box for box in boxes if axes.bbox.y0 <= (box.y0 + box.y1) / 2 <= axes.bbox.y1), key=lambda box: box.y0)
    assert len(boxes) >= 3
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))


def test_a_search_of_one_phase_has_no_such_line(tmp_path, figures, is_readable):
    plot_history(history(9).assign(phase=1), tmp_path / "curves.png", title="Search")
    assert not any("phase" in text for text in is_readable())
    assert not any([*line.get_ydata()] == [0, 1] for axes in figures[0].axes for line in axes.lines)


def test_gaps_stay_gaps_and_a_lonely_point_is_marked(tmp_path, figures):
    frame = history()
    frame.loc[[3, 5], "train_loss"] = [math.nan, math.inf]
    plot_history(frame, tmp_path / "curves.png", title="Search")
    markers = [line for line in figures[0].axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in markers] == [[5.0]]


def test_the_best_epoch_is_ringed(tmp_path, figures):
    frame = history()
    frame.loc[7, "valid_acc"] = 99.5
    plot_history(frame, tmp_path / "curves.png", title="Search")
    rings = [line for line in figures[0].axes[1].lines if line.get_markersize() == 7]
    assert [(ring.get_xdata()[0], ring.get_ydata()[0]) for ring in rings] == [(8.0, 99.5)]


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"epoch": []}), pd.DataFrame({"train_loss": [1.0]}), pd.DataFrame({"epoch": [1], "x": [2]})]
)
def test_a_table_without_a_history_is_an_error(frame, tmp_path):
    with pytest.raises(ValueError, match=r"Search: a history with .* expected\. Got"):
        plot_history(frame, tmp_path / "curves.png", title="Search")


def test_networks_over_one_another(tmp_path, figures, is_readable):
    shown = {name: history(best=best) for name, best in (("searched", 97.0), ("resnet20", 96.0), ("a_network_with_a_very_long_name", 95.9))}
    shown["untrained"] = history().assign(valid_acc=math.nan)
    plot_histories(shown, tmp_path / "curves.png", title="Validation accuracy")
    texts = is_readable()
    assert {"searched", "resnet20", "a_network_with_a_\u2026"} <= set(texts)
    assert "untrained" not in texts
    assert figures[0].axes[0].get_ylabel() == "validation top-1 accuracy (%)"


def test_thirty_networks_have_room_for_their_names(tmp_path, is_readable):
    shown = {"searched": history()} | {f"random_{k}": history(best=95 + 0.01 * k) for k in range(29)}
    plot_histories(shown, tmp_path / "curves.png", title="Validation accuracy")
    assert {f"random_{k}" for k in range(29)} <= set(is_readable())


def test_crowded_accuracies_get_the_frame_but_nobody_falls_out_of_it(tmp_path, figures, is_readable):
    crowded = {"a": history(60, best=97.0), "b": history(60, best=96.5)}
    plot_histories(crowded, tmp_path / "a.png", title="Validation accuracy")
    assert figures[-1].axes[0].get_ylim()[0] > 90
    assert "the first epochs lie below the frame" in is_readable()
    plot_histories(crowded | {"bad": history(60, best=40.0)}, tmp_path / "b.png", title="Validation accuracy")
    assert figures[-1].axes[0].get_ylim()[0] < 40


def test_no_value_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one history with a value of 'valid_acc' expected"):
        plot_histories({"a": history().drop(columns="valid_acc")}, tmp_path / "curves.png", title="Validation")


def test_the_files_are_written(tmp_path, png_size):
    assert min(png_size(plot_history(history(), tmp_path / "new" / "history.png", title="Search"))) > 500
    assert min(png_size(plot_histories({"searched": history()}, tmp_path / "networks.png", title="Search"))) > 500


def test_architectures_are_whole_points_and_no_line(tmp_path, figures, is_readable):
    frame = history(5).drop(columns=["lr"]).rename(columns={"epoch": "architecture"})
    frame.loc[1, ["train_loss", "train_acc", "valid_loss", "valid_acc"]] = math.nan  # one that diverged
    plot_history(frame, tmp_path / "curves.png", title="Search", chosen=3)
    assert [axes.get_xlabel() for axes in figures[0].axes] == ["architecture"] * 2
    assert frame["valid_acc"].argmax() != 3, "what is chosen by the training loss need not be the best by this"
    assert f"validation accuracy {frame['valid_acc'][3]:.2f} % of architecture 4, which is chosen" in is_readable()
    rings = [line.get_xydata().tolist() for line in figures[0].axes[1].lines if line.get_markerfacecolor() == "none"]
    assert rings == [[[4.0, frame["valid_acc"][3]]]]
    lines = figures[0].axes[0].lines
    assert [line.get_linestyle() for line in lines if len(line.get_xdata()) > 2] == ["None"] * 4, "the points, and nothing between them"
    markers = [line for line in lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in markers] == [[1.0, 3.0, 4.0, 5.0]] * 2
    assert not any(line.get_clip_on() for line in markers), "the first and the last stand on the frame"


def test_a_perplexity_that_no_axis_takes_is_left_out(tmp_path, figures, is_readable):
    frame = pd.DataFrame({"epoch": [1, 2, 3], "train_ppl": [90.0, 80.0, 70.0], "valid_ppl": [1e304, 95.0, math.inf]})
    plot_history(frame, tmp_path / "curves.png", title="Search")
    assert "lowest validation perplexity 95.00 in epoch 2" in is_readable()
    plot_history(frame.assign(valid_ppl=1e304), tmp_path / "none.png", title="Search")
    plot_histories({"a": frame}, tmp_path / "all.png", title="All", column="valid_ppl")
