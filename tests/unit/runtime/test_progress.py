import io
import re

import pytest

from darts_core.runtime.progress import Progress, duration, fitting


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(mode, out, *, done=0, total=3):
    reporter = Progress("search", total, mode=mode, done=done, out=out)
    for epoch in range(done, total):
        assert list(reporter.batches(range(4), total=4)) == [0, 1, 2, 3]
        reporter.epoch({"train_loss": 1.0 / (epoch + 1)})
    reporter.close()
    return out.getvalue()


@pytest.mark.parametrize("mode", ["auto", "lines"])
def test_one_line_an_epoch_in_a_log(mode):
    lines = run(mode, io.StringIO()).splitlines()
    assert [line.split("  ")[:3] for line in lines] == [
        ["search", "1/3", "train_loss 1"],
        ["search", "2/3", "train_loss 0.5"],
        ["search", "3/3", "train_loss 0.3333"],
    ]
    assert re.search(r"0\.0 s/epoch  0 s left$", lines[0])
    assert re.search(r"s/epoch  done in 0 s$", lines[2])


def test_a_resumed_run_counts_on():
    lines = run("lines", io.StringIO(), done=2).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("search  3/3  ")


@pytest.mark.parametrize("mode", ["auto", "bar"])
def test_bars_on_a_terminal(mode):
    shown = run(mode, Terminal())
    assert "search: 100%" in shown
    assert "train_loss=0.333" in shown
    assert "epoch 3" in shown


def test_off_is_silent():
    assert run("off", Terminal()) == ""


def test_a_loop_of_other_things():
    out = io.StringIO()
    reporter = Progress("evaluate", 2, mode="lines", unit="network", out=out)
    reporter.epoch({})
    assert "s/network" in out.getvalue()


def test_the_time_left_counts_epochs_where_what_is_trained_differs(monkeypatch):
    now = iter([0.0, 10.0, 20.0, 50.0, 60.0])
    monkeypatch.setattr("darts_core.runtime.progress.time.monotonic", lambda: next(now))
    out = io.StringIO()
    reporter = Progress("search", 4, mode="lines", unit="training", sizes=[1, 1, 3, 3], done=0, out=out)
    for _ in range(3):
        reporter.epoch({})
    ends = [line.split("  ")[-1] for line in out.getvalue().splitlines()]
    assert ends == ["1 min 10 s left", "1 min 00 s left", "30 s left"]
    shown = Terminal()
    bar = Progress("search", 4, mode="bar", unit="training", sizes=[1, 1, 3, 3], done=2, out=shown)
    bar.epoch({})
    bar.close()
    assert "5/8" in shown.getvalue()


def test_nothing_done_is_no_division_by_zero():
    out = io.StringIO()
    Progress("retrain", 5, mode="lines", done=5, out=out)._write("x")
    assert out.getvalue() == "x\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_durations_as_people_read_them(seconds, text):
    assert duration(seconds) == text


def test_what_a_bar_has_no_room_for_is_left_out_accuracies_last():
    metrics = {"train_loss": 2.046, "train_acc": 28.31, "valid_acc": 9.8, "lr": 0.025}
    assert fitting(metrics, 200) == "train_acc=28.31, valid_acc=9.8, train_loss=2.046, lr=0.025"
    assert fitting(metrics, 34) == "train_acc=28.31, valid_acc=9.8"
    assert fitting(metrics, 5) == "train_acc=28.31"
    assert fitting({}, 5) == ""
