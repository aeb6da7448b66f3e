"""The darts command: dispatch, exit statuses, lists, and genotypes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darts_core import genotype
from darts_core.cli import COMMANDS, main
from darts_core.spaces import SPACES

TWO_LAYERS = Path(__file__).parents[2] / "contract" / "two_layers.json"


@pytest.fixture
def darts(capsys):
    """Run one command in this process and return its status, output and errors."""

    def run(*arguments):
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_an_unknown_command_is_suggested(darts):
    status, out, err = darts("chek")
    assert (status, out) == (2, "")
    assert err.startswith("darts: no command is called 'chek' (did you mean 'check'?). Known: check, ")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["preset", "--help"], ["ui", "--port", "0"], ["check", "a", "b"]])
def test_usage_is_argparse_s(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == (0 if "--help" in arguments else 2)


def test_help_has_a_line_for_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"    {name}" in out for name in COMMANDS)


def test_help_imports_neither_torch_nor_mlflow():
    code = (
        "import sys\nfrom darts_core.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(sorted(set(sys.modules) & {'torch', 'mlflow', 'matplotlib', 'sklearn', 'pandas'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("methods", "darts"),
        ("spaces", "darts_cnn"),
        ("ops", "sep_conv_3x3"),
        ("datasets", "digits"),
        ("baselines", "resnet20"),
        ("genotypes", "DARTS_V2"),
    ],
)
def test_a_list_has_a_line_with_a_summary_for_each(darts, command, name):
    status, out, err = darts(command)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len({line.split()[0] for line in lines})
    [line] = [line for line in lines if line.split()[0] == name]
    assert len(line.split()) > 3
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), "an entry without a docstring"


def test_options_are_shown_with_their_defaults(darts):
    assert "    test_fraction = 0.2  (number)\n" in darts("datasets", "--options")[1]
    status, out, _ = darts("spaces", "darts_cnn")
    assert status == 0
    assert out.startswith("darts_cnn: ")
    assert "    layers = 8  (whole number)\n" in out
    assert "    stem = cifar  (cifar | imagenet)\n" in out
    assert "max_pool_3x3, avg_pool_3x3" in out


def test_an_option_without_default_says_so(darts):
    assert "    root  (text; no default)\n" in darts("datasets", "image_folder")[1]


def test_an_unknown_entry_is_suggested(darts):
    status, out, err = darts("methods", "drts")
    assert (status, out) == (1, "")
    assert "no method is called 'drts' (did you mean 'darts'?)" in err


def test_a_published_genotype_is_shown(darts):
    status, out, _ = darts("genotype", "DARTS_V2")
    assert status == 0
    assert out.splitlines()[:3] == [
        "DARTS_V2: space darts_cnn, rule published",
        "normal cell: 5 sep_conv_3x3, 2 skip_connect, 1 dil_conv_3x3",
        "  node 2   input 0: sep_conv_3x3   input 1: sep_conv_3x3",
    ]
    assert out.splitlines()[-1] == "  output   node 2, node 3, node 4, node 5"


def test_a_genotype_file_is_shown_and_drawn(darts, tmp_path):
    path = tmp_path / "mine.json"
    genotype.published("NASNet").save(path)
    status, out, _ = darts("genotype", str(path), "--draw", str(tmp_path / "drawn"))
    assert status == 0
    assert out.startswith(f"{path}: space darts_cnn, rule published\n")
    names = {file.name for file in (tmp_path / "drawn").iterdir()}
    assert names == {f"cell_{cell}.{kind}" for cell in ("normal", "reduce") for kind in ("svg", "png", "dot")}
    assert out.count("wrote ") == 6


@pytest.mark.parametrize(
    ("space", "options"),
    [
        ("enas_macro", {"layers": 6}),
        ("layerwise", {"search_space": str(TWO_LAYERS)}),
        ("darts_wide", {"cells": ["normal"]}),
        ("nasbench201", {"nodes": 3}),
    ],
)
def test_a_genotype_of_another_size_than_the_space_s_own_is_shown(darts, tmp_path, space, options):
    found = SPACES.build(space, options).random_genotype(torch.Generator().manual_seed(0))
    found.save(tmp_path / "genotype.json")
    status, out, err = darts("genotype", str(tmp_path / "genotype.json"))
    assert status == 0, err
    assert all(edge.op in out for _, edge in next(iter(found.cells.values())).edges)


def test_a_wrong_genotype_is_an_error(darts, tmp_path):
    data = genotype.published("DARTS_V2").to_dict()
    data["cells"]["normal"]["nodes"][0][0]["op"] = "sep_conv_3x4"
    path = tmp_path / "g.json"
    path.write_text(json.dumps(data))
    status, _, err = darts("genotype", str(path))
    assert status == 1
    assert "normal cell, node 2: unknown operation 'sep_conv_3x4' (did you mean 'sep_conv_3x3'?)" in err
    data["space"] = "nowhere"
    path.write_text(json.dumps(data))
    assert "no space is called 'nowhere'" in darts("genotype", str(path))[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("darts_v2", "neither a file nor a published genotype (did you mean 'DARTS_V2'?)"),
        ("no.json", "no.json: cannot be read (No such file"),
        ("data/genotype", "data/genotype: cannot be read"),
    ],
)
def test_a_missing_genotype_is_an_error(darts, name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = darts("genotype", name)
    assert (status, out) == (1, "")
    assert message in err


def test_the_module_form_runs_and_a_closed_pipe_is_quiet():
    process = subprocess.Popen(
        [sys.executable, "-m", "darts_core.cli", "genotypes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 1)
    assert process.stderr.read() == ""
    process.stderr.close()
