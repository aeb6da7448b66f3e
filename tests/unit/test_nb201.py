"""The NAS-Bench-201 benchmark: its settings hold, and a finished run is not repeated unless its settings change."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from benchmarks import nb201
from darts_core.config import Config
from darts_core.engine.truth import BenchmarkTable

SETTINGS = yaml.safe_load(nb201.SETTINGS.read_text())
TABLE_OF_MANY = BenchmarkTable({f"|none~{n}|": (80.0, 81.0) for n in range(9)}, source="table")
TABLE = BenchmarkTable({"|none~1|": (80.0, 81.0), "|none~2|": (80.0, 82.0)}, source="table")


@pytest.fixture
def args(tmp_path):
    return argparse.Namespace(data=Path("cifar10"), settings=nb201.SETTINGS, set=[], out=tmp_path, cache=tmp_path)


@pytest.mark.parametrize("label", SETTINGS["methods"])
def test_the_settings_of_every_method_hold(label, args):
    cfg = nb201.configuration(SETTINGS, label, 7, args)
    assert (cfg.seed, cfg.space.name, cfg.method.name) == (7, "nasbench201", label)


COLLAPSE = yaml.safe_load(nb201.SETTINGS.with_name("nb201_collapse.yaml").read_text())


@pytest.mark.parametrize("label", ["darts", "darts_plus", "robust_darts"])
def test_the_settings_of_the_collapse_differ_in_the_methods_alone(label, args):
    cfg, plain = (nb201.configuration(COLLAPSE, each, 7, args) for each in (label, "darts"))
    assert cfg.method.name == label
    assert cfg.search.model_copy(update={"hessian_every": 0}) == plain.search
    assert (cfg.space, cfg.data, plain.method.options) == (plain.space, plain.data, {})


def test_the_command_line_comes_last_and_a_fault_is_named(args):
    args.set = ["search.epochs=4", "method.warmup_epochs=1"]
    cfg = nb201.configuration(SETTINGS, "pc_darts", 0, args)
    assert (cfg.search.epochs, cfg.method.options["warmup_epochs"]) == (4, 1)
    with pytest.raises(ValueError, match=r"--methods: 'pcdarts' is not in .*nb201\.yaml\. Known: "):
        nb201.configuration(SETTINGS, "pcdarts", 0, args)
    for fault in ("augment", "epochs=4"):
        args.set = [fault]
        with pytest.raises(ValueError, match=f"--set: SECTION.KEY=VALUE expected, such as search.epochs=5. Got {fault}"):
            nb201.configuration(SETTINGS, "pc_darts", 0, args)


@pytest.mark.parametrize(("option", "values"), [("--seeds", ["0", "1", "0"]), ("--methods", ["gdas", "gdas"])])
def test_a_run_is_not_counted_twice(option, values, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["nb201", "--data", "x", "--table", "y", option, *values])
    with pytest.raises(SystemExit):
        nb201.main()
    assert f"{option}: each once expected" in capsys.readouterr().err


def images_of(content_hash):
    return SimpleNamespace(spec=SimpleNamespace(content_hash=content_hash))


def test_a_finished_run_is_not_repeated(args, monkeypatch):
    ran = []

    def measured(cfg, images, table, folder):
        ran.append(cfg)
        return {"seconds": 3.0, "architecture": f"|none~{len(ran)}|"}

    monkeypatch.setattr(nb201, "measured", measured)
    hashes = {"cifar10": "a1", "elsewhere": "a1", "others": "b2"}
    monkeypatch.setattr(nb201, "prepared", lambda cfg, cache: images_of(hashes[Path(cfg.data.options["root"]).name]))
    first = nb201.outcome("gdas", 1, SETTINGS, args, TABLE)
    assert (first.method, first.seed, first.accuracy, first.seconds) == ("gdas", 1, 81.0, 3.0)
    assert nb201.outcome("gdas", 1, SETTINGS, args, TABLE) == first
    for change in ("augment.flip=false", "data.valid_fraction=0.1", "data.split_seed=4"):
        changed = argparse.Namespace(**{**vars(args), "set": [change], "out": args.out / change})
        (args.out / change).mkdir()
        (args.out / change / "gdas_1.json").write_bytes((args.out / "gdas_1.json").read_bytes())
        nb201.outcome("gdas", 1, SETTINGS, changed, TABLE_OF_MANY)
    assert len(ran) == 4
    del ran[1:]
    args.data = Path("elsewhere")  # where the images lie changes nothing
    assert nb201.outcome("gdas", 1, SETTINGS, args, TABLE) == first
    args.set = ["search.epochs=20"]
    assert nb201.outcome("gdas", 1, SETTINGS, args, TABLE).accuracy == 82.0
    assert len(ran) == 2
    other = BenchmarkTable({"|none~2|": (90.0, 93.0)}, source="other")
    assert nb201.outcome("gdas", 1, SETTINGS, args, other).accuracy == 93.0, "what an architecture is worth is the present table's to say"
    assert len(ran) == 2
    args.data = Path("others")
    nb201.outcome("gdas", 1, SETTINGS, args, TABLE_OF_MANY)
    assert len(ran) == 3, "other images, another run"


def test_images_are_prepared_anew_where_what_they_are_made_from_changes(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(nb201.data, "prepare", lambda section, folder, **options: made.append(folder))
    monkeypatch.setattr(nb201.data, "open_prepared", lambda folder: None)
    archive = tmp_path / "images.tar"
    archive.write_bytes(b"1")
    for size, resize, content in ((16, "squash", b""), (16, "squash", b""), (16, "pad", b""), (8, "pad", b""), (8, "pad", b"12")):
        if content:
            archive.write_bytes(content)
        data = {"name": "image_folder", "root": str(archive), "image_size": size, "resize": resize}
        nb201.prepared(Config.model_validate({"data": data}), tmp_path / "cache")
    assert made[0] == made[1]
    assert len(set(made)) == 4


def test_two_folders_of_one_name_are_two_sets_of_images(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(nb201.data, "prepare", lambda section, folder, **options: made.append(folder))
    monkeypatch.setattr(nb201.data, "open_prepared", lambda folder: None)
    for parent, pixels in (("one", b"1"), ("two", b"22")):
        (folder := tmp_path / parent / "photos" / "cat").mkdir(parents=True)
        (folder / "1.png").write_bytes(pixels)
        data = {"name": "image_folder", "root": str(folder.parent)}
        nb201.prepared(Config.model_validate({"data": data}), tmp_path / "cache")
    assert len(set(made)) == 2


@pytest.mark.parametrize("method", [{"name": "darts"}, {"name": "random_search", "shared_weights": False, "samples": 2, "train_epochs": 1}])
def test_a_small_search_is_measured(method, tmp_path):
    cfg = Config.model_validate(
        {
            "data": {"name": "digits"},
            "space": {"name": "nasbench201", "init_channels": 4, "layers": 3},
            "method": method,
            "search": {"epochs": 1, "data_fraction": 0.1, "batch_size": 16, "backend": "eager"},
            "runtime": {"num_threads": 1, "num_workers": 0, "progress": "off"},
        }
    )
    table = SimpleNamespace(look_up=lambda architecture: SimpleNamespace(test_acc=80.0, percentile=50.0))
    found = nb201.measured(cfg, nb201.prepared(cfg, tmp_path / "cache"), table, tmp_path / "run")
    assert (found["test_acc"], found["collapsed"], found["architecture"].count("~")) == (80.0, 0, 6)
    assert (tmp_path / "run" / "history.csv").exists()
