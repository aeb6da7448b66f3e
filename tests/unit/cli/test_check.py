"""darts check: what would run, or every fault at once."""

import shutil
from pathlib import Path

import pytest

from darts_core.cli import main
from darts_core.genotype import published

PRESETS = sorted((Path(__file__).parents[3] / "darts_core" / "presets").glob("*.yaml"))
DIGITS = next(path for path in PRESETS if path.stem == "digits")


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A params.yaml in the working directory, equal to the digits preset."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(DIGITS, "params.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_right(path, capsys):
    assert main(["check", str(path)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.startswith(f"{path}: ok\n")


def test_the_file_in_the_repository_is_the_digits_preset():
    assert (DIGITS.parents[2] / "params.yaml").read_bytes() == DIGITS.read_bytes()


def test_a_right_file_is_summarised(params, capsys):
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "params.yaml: ok\n  prepare_data     digits (test_fraction 0.2); none of the training images kept for validation\n"
    )
    assert "  derive_genotype  by the method's own rule\n" in out
    assert "  tracking         MLflow experiment 'darts'\n" in out


def test_the_share_of_validation_images_is_shown(params, capsys):
    params.write_text(params.read_text().replace("valid_fraction: 0.0 ", "valid_fraction: 0.1 "))
    assert main(["check"]) == 0
    assert "; 10 % of the training images kept for validation\n" in capsys.readouterr().out


def test_a_published_genotype_means_no_search(params, capsys):
    params.write_text(params.read_text().replace("genotype: search", "genotype: DARTS_V2").replace("enabled: true", "enabled: false"))
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "  search           no search\n" in out
    assert "  derive_genotype  DARTS_V2, as published\n" in out
    assert "  tracking         off\n" in out


def test_a_genotype_file_means_no_search_either(params, capsys):
    published("DARTS_V2").save("mine.json")
    params.write_text(params.read_text().replace("genotype: search", "genotype: mine.json"))
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "  search           no search\n" in out
    assert "  derive_genotype  mine.json, as in that file\n" in out


def test_every_fault_is_reported_with_its_line(params, capsys):
    text = params.read_text().replace("  epochs: ", "  epoch: ", 1).replace("init_channels: 8 ", "init_channels: 0 ")
    text = text.replace("genotype: search", "genotype: DARTS_V9").replace("[resnet20,", "[resnet21,").replace("amp: off", "amp: half")
    params.write_text(text.replace("arch_gradient: first", "arch_gradient: third"))
    assert main(["check"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    faults = captured.err.splitlines()
    keys = ["space.init_channels", "method.arch_gradient", "search.epoch", "derive.genotype", "retrain.amp", "retrain.baselines"]
    assert [fault.split(": ")[1].split(" ")[0] for fault in faults] == keys
    lines = text.splitlines()
    for fault, key in zip(faults, keys, strict=True):
        number = int(fault.split(":")[1])
        assert lines[number - 1].strip().startswith(key.partition(".")[2]), fault
    assert "did you mean 'epochs'?" in faults[2]
    assert "did you mean 'DARTS_V" in faults[3]
    assert "did you mean 'resnet20'?" in faults[5]


def test_an_option_of_the_data_set_is_checked_without_its_images(params, capsys):
    text = params.read_text().replace("test_fraction: 0.2 ", "test_fraction: 1.5 ")
    params.write_text(text)
    assert main(["check"]) == 1
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if "test_fraction" in line)
    assert capsys.readouterr().err == f"params.yaml:{line}: data.test_fraction must lie between 0 and 1, both excluded. Got 1.5.\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_data_of_one_s_own_that_is_not_there_is_warned_of(is_there, tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("seed: 0\ndata:\n  name: image_folder\n  root: photos\n")
    if is_there:
        (tmp_path / "photos").mkdir()
    assert main(["check", str(tmp_path / "params.yaml")]) == 0
    warned = f"{tmp_path / 'params.yaml'}:4: warning: data.root: photos does not exist, so prepare_data would stop."
    assert (warned in capsys.readouterr().out) is not is_there


def test_a_missing_file_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    assert "params.yaml: cannot be read (No such file or directory)." in capsys.readouterr().err


def test_a_string_of_nasbench201_is_a_genotype(tmp_path, capsys):
    path = tmp_path / "params.yaml"
    path.write_text(
        "data: {name: digits}\nspace: {name: nasbench201}\nretrain: {layers: 15, auxiliary: false}\n"
        'derive: {genotype: "|none~0|+|none~0|skip_connect~1|"}\n'
    )
    assert main(["check", str(path)]) == 0
    assert "|none~0|+|none~0|skip_connect~1|, as given" in capsys.readouterr().out
    path.write_text(path.read_text().replace("none~0|skip", "none~1|skip"))
    assert main(["check", str(path)]) != 0
    assert "group 2: the sources [0, 1] expected, in this order. Got [1, 1]" in capsys.readouterr().err


def test_a_search_without_a_supernet_says_what_it_trains(params, capsys):
    text = params.read_text().replace("name: darts\n  arch_gradient: first", "name: random_search")
    params.write_text(text.replace("name: random_search", "name: random_search\n  shared_weights: false\n  samples: 20"))
    assert main(["check"]) == 0
    assert "; 20 architectures one by one, 7 epochs each, batches of 96\n" in capsys.readouterr().out
    params.write_text(text.replace("name: random_search", "name: random_search\n  arch_gradient: null"))
    assert main(["check"]) == 0
    assert "random_search in darts_cnn (init_channels 8, layers 3, nodes 4); 7 epochs, batches of 96\n" in capsys.readouterr().out
