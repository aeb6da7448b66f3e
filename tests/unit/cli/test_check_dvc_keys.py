"""darts check: a key that may be left out for the code, but not for DVC, is a fault where dvc.yaml lies beside the file."""

import re
import shutil
from pathlib import Path

import pytest

from darts_core.cli import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(ROOT / "darts_core/presets/digits.yaml", "params.yaml"))


def test_a_missing_section_and_a_missing_key_are_named(params, capsys):
    text = re.sub(r"augment:.*\n(?:  .*\n)+", "", params.read_text())
    text = re.sub(r"runtime:\n(?:  .*\n)+", "", re.sub(r"  weights: .*\n", "", text))
    params.write_text(text)
    assert main(["check"]) == 0, "without a dvc.yaml the defaults do"
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    capsys.readouterr()
    assert main(["check"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    line = text.splitlines().index("evaluate:") + 1
    assert sorted(fault.partition(" It has")[0] for fault in captured.err.splitlines()) == [
        "params.yaml:1: augment: missing.",
        "params.yaml:1: runtime: missing.",
        f"params.yaml:{line}: evaluate.weights: missing.",
    ]


def test_a_section_may_be_empty(params, capsys):
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    params.write_text(re.sub(r"augment:.*\n(?:  .*\n)+", "augment: {}\n", params.read_text()))
    assert main(["check"]) == 0, capsys.readouterr().err
