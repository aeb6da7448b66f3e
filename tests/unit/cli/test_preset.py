"""darts preset: writes what it says, and loses nothing that somebody has typed."""

from pathlib import Path

import pytest

from darts_core.cli import main
from darts_core.cli.preset import presets
from darts_core.config import load
from darts_core.genotype import published
from darts_core.methods import METHODS

PARAMS = Path("params.yaml")
OWN = "# mine\ndata: {name: digits}\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_a_name_the_presets_are_listed(capsys):
    assert main(["preset"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(presets())
    assert {"digits", "cifar10_cpu", "cifar10_paper", "rx580"} <= set(presets())
    for line, text in zip(lines, presets().values(), strict=True):
        assert text.startswith("# ")
        assert line.endswith(text.splitlines()[0][2:])


def test_a_preset_is_written_with_its_comments(capsys):
    assert main(["preset", "digits"]) == 0
    assert PARAMS.read_text() == presets()["digits"]
    assert capsys.readouterr().out.startswith("wrote params.yaml: Handwritten digits")
    assert sorted(Path().iterdir()) == [PARAMS]


def test_another_output(capsys):
    assert main(["preset", "digits", "--output", "a/b.yaml", "--set", "seed=2"]) == 0
    assert load("a/b.yaml").seed == 2
    assert not PARAMS.exists()


def test_values_are_set_in_place():
    assert main(["preset", "digits", "--set", "search.epochs=1", "retrain.amp=off", "--set", "retrain.baselines=[]"]) == 0
    before, after = presets()["digits"].splitlines(), PARAMS.read_text().splitlines()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 2
    cfg = load(PARAMS)
    assert (cfg.search.epochs, cfg.retrain.amp, cfg.retrain.baselines) == (1, "off", ())


def test_a_key_that_is_not_in_the_file_is_added_to_its_section():
    assert main(["preset", "digits", "--set", "space.stem=imagenet"]) == 0
    assert load(PARAMS).space.options["stem"] == "imagenet"
    assert "  nodes: 4                      # intermediate states of a cell\n  stem: imagenet\n" in PARAMS.read_text()


def test_a_genotype_file_is_sought_beside_the_file_that_is_written(capsys):
    Path("a").mkdir()
    published("DARTS_V2").save("a/mine.json")
    arguments = ["preset", "digits", "--set", "derive.genotype=mine.json"]
    assert main(arguments) == 1
    assert "derive.genotype: mine.json: cannot be read (No such file" in capsys.readouterr().err
    assert main([*arguments, "--output", "a/params.yaml"]) == 0


def test_choosing_another_part_leaves_out_the_former_one_s_options(capsys):
    assert main(["preset", "digits", "--set", "data.name=image_folder", "data.root=my photos"]) == 0
    cfg = load(PARAMS)
    assert (cfg.data.name, cfg.data.options["root"]) == ("image_folder", "my photos")
    assert main(["preset", "digits", "--set", "data.name=digits", "--force"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_an_option_of_the_former_part_goes_with_a_word(capsys):
    from darts_core.cli.preset import edited

    text = edited(presets()["digits"].replace("  test_fraction:", "  root: x\n  test_fraction:"), [("data.name", "digits")])
    assert "root" not in text
    assert capsys.readouterr().out == "left out data.root: not an option of digits\n"


@pytest.mark.parametrize("name", list(METHODS))
def test_another_method_takes_nothing_that_was_meant_for_the_former_one(name, capsys):
    more = ["search.epochs=60"] + (["method.channel_proportion=4", "method.warmup_epochs=2"] if name == "pc_darts" else [])
    assert main(["preset", "digits", "--set", f"method.name={name}", *more]) == 0
    left_out = "left out method.arch_gradient: meant for another method\n" in capsys.readouterr().out
    assert left_out is (name != "darts")
    method = load(PARAMS).method
    assert method.options.get("arch_gradient") == ("first" if name == "darts" else None)
    assert not more[1:] or (method.options["channel_proportion"], method.options["warmup_epochs"]) == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "no preset is called 'digit' (did you mean 'digits'?). Known: cifar10_cpu, "),
        (["--set", "seed=1"], "--set needs the preset"),
        (["digits", "--set", "seed"], "expected section.key=value"),
        (["digits", "--set", "search=1"], "search is a section"),
        (["digits", "--set", "search.epoch=1"], "search.epoch: not a known key (did you mean 'epochs'?)"),
        (["digits", "--set", "serch.epochs=1"], "serch: not a known key (did you mean 'search'?)"),
        (["digits", "--set", "search.epochs='1'"], "search.epochs: must be a whole number. Got '1'."),
        (["digits", "--set", "derive.genotype=DARTS_V3"], "derive.genotype: no published genotype is called 'DARTS_V3'"),
        (["digits", "--set", "data.test_fraction=1.5"], "data.test_fraction must lie between 0 and 1, both excluded. Got 1.5."),
        (["digits", "--set", "data.name=photos"], "data.name: no data set is called 'photos'"),
    ],
)
def test_a_wrong_change_writes_nothing(arguments, message, capsys):
    assert main(["preset", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert not list(Path().iterdir())


def test_a_file_with_changes_is_not_replaced(capsys):
    PARAMS.write_text(OWN)
    assert main(["preset", "digits"]) == 1
    assert "params.yaml holds changes of your own. --force replaces it and keeps it as params.yaml.1" in capsys.readouterr().err
    assert PARAMS.read_text() == OWN
    assert list(Path().iterdir()) == [PARAMS]


def test_force_keeps_numbered_copies(capsys):
    for number in (1, 2, 3):
        PARAMS.write_text(f"{OWN}seed: {number}\n")
        assert main(["preset", "digits", "--force"]) == 0
        assert f"the former one is now params.yaml.{number}\n" in capsys.readouterr().out
    assert [Path(f"params.yaml.{n}").read_text() for n in (1, 2, 3)] == [f"{OWN}seed: {n}\n" for n in (1, 2, 3)]
    assert PARAMS.read_text() == presets()["digits"]


@pytest.mark.parametrize("name", presets())
def test_an_unchanged_preset_gives_way_without_a_copy(name):
    PARAMS.write_text(presets()[name])
    assert main(["preset", "digits"]) == 0
    assert PARAMS.read_text() == presets()["digits"]
    assert list(Path().iterdir()) == [PARAMS]


def test_the_same_command_twice_is_no_conflict():
    for _ in range(2):
        assert main(["preset", "digits", "--set", "seed=7"]) == 0
    assert list(Path().iterdir()) == [PARAMS]


def test_a_change_made_by_set_is_a_change_of_one_s_own():
    assert main(["preset", "digits", "--set", "seed=7"]) == 0
    assert main(["preset", "digits"]) == 1
    assert load(PARAMS).seed == 7
