"""What the benchmarks are asked for: nonsense ends with a line, not with a traceback."""

import importlib
import sys

import pytest
import torch

from benchmarks import memory
from benchmarks.machine import whole_number
from benchmarks.supernets import Size

NAMES = ("search_step", "memory", "retrain_step", "rnn_step", "growth", "data")


def said(name, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x"])
def test_sizes_are_whole_numbers_of_at_least_one(name, value, capsys):
    expected = f"argument --batch: a whole number of at least 1 expected. Got '{value}'."
    assert expected in said(name, ["--batch", value], capsys) if value != "-1" else "--batch" in said(name, ["--batch", value], capsys)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"memory"}))
def test_no_round_gives_no_median(name, capsys):
    assert "argument --rounds: a whole number of at least 1 expected. Got '0'." in said(name, ["--rounds", "0"], capsys)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cores are chosen on Linux alone")
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("search_step", ["--core", "9999"], "--core: one of those that this process may use expected"),
        ("rnn_step", ["--core", "9999"], "--core: one of those that this process may use expected"),
        ("search_step", ["--threads", "9999"], "--threads: as many as there are cores for this process"),
        ("search_step", ["--threads", "1", "2", "--core", "0"], "--core is for one thread"),
    ],
)
def test_cores_that_are_not_there(name, arguments, expected, capsys):
    threads = torch.get_num_threads()
    try:
        assert expected in said(name, arguments, capsys)
    finally:
        torch.set_num_threads(threads)


def test_whole_numbers():
    assert whole_number("12") == 12


def test_a_row_that_cannot_be_had_says_why(capfd):
    with pytest.raises(SystemExit, match=r"eager, normal, N=2: no row \(exit status 2\)\."):
        memory.in_a_process(Size(nodes=0), 2, backend="eager", memory="normal")
    assert "a whole number of at least 1 expected" in capfd.readouterr().err
