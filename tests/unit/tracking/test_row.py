import re

import pytest

from darts_core.config import Config
from darts_core.tracking import row as module
from darts_core.tracking.row import experiment_key, experiment_params, source_hash


def config(**changes):
    return Config.model_validate({"data": {"name": "digits", "test_fraction": 0.2}, **changes})


def test_params_are_flat_and_leave_out_what_changes_no_result():
    params = experiment_params(config(method={"name": "darts", "arch_gradient": "exact"}))
    assert params["search.epochs"] == "50"
    assert params["data.test_fraction"] == "0.2"
    assert params["method.arch_gradient"] == "exact"
    assert params["retrain.baselines"] == '["resnet20", "mobilenet_v2"]'
    assert params["derive.rule"] == "null"
    assert params["retrain.auxiliary"] == "true"
    assert "runtime.device" in params
    assert not [name for name in params if name.startswith("tracking") or name in ("runtime.progress", "runtime.num_workers")]


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"retrain": {"epochs": 7}}, {"runtime": {"device": "cpu"}}, {"data": {"name": "digits", "test_fraction": 0.3}}]
)
def test_a_changed_experiment_has_another_key(changes):
    assert experiment_key(config(**changes)) != experiment_key(config())


@pytest.mark.parametrize("changes", [{"tracking": {"experiment": "other"}}, {"runtime": {"num_workers": 0, "progress": "off"}}])
def test_the_same_experiment_has_the_same_key(changes):
    assert experiment_key(config(**changes)) == experiment_key(config())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 3, "method": {"name": "darts", "arch_gradient": "exact"}}, "digits-darts-exact-s3-0123ab"),
        ({"method": {"name": "darts"}}, "digits-darts-s0-0123ab"),
        ({"method": {"name": "darts", "arch_gradient": "exact"}, "derive": {"genotype": "DARTS_V2"}}, "digits-DARTS_V2-s0-0123ab"),
    ],
)
def test_a_row_is_named_after_how_its_cell_was_found(changes, name):
    assert module._run_name(config(**changes), "0123ab456789cdef") == name


def test_another_source_or_host_is_another_experiment(monkeypatch):
    key = experiment_key(config())
    assert re.fullmatch("[0-9a-f]{16}", key)
    with monkeypatch.context() as patch:
        patch.setattr(module, "source_hash", lambda: "other")
        assert experiment_key(config()) != key
    monkeypatch.setattr(module.socket, "gethostname", lambda: "other")
    assert experiment_key(config()) != key


def test_the_source_hash_sees_names_and_contents(tmp_path, monkeypatch):
    package = tmp_path / "darts_core" / "tracking"
    package.mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "row.py"))
    (package / "row.py").write_text("a")
    hashes = {source_hash()}
    (package / "row.py").write_text("b")
    hashes.add(source_hash())
    (package / "row.py").rename(package / "line.py")
    hashes.add(source_hash())
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "search.py").write_text("b")
    hashes.add(source_hash())
    assert len(hashes) == 4
    (package / "notes.txt").write_text("no source")
    assert source_hash() in hashes


def test_a_folder_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("DVC_EXP_NAME", "loved-goat")
    assert module._source_tags() == {"source.hash": source_hash(), "dvc.exp": "loved-goat"}


def test_rows_differ_in_colour(monkeypatch):
    times = iter([1_000_000_000 * n for n in range(1, 11)])
    monkeypatch.setattr(module.time, "time_ns", lambda: next(times))
    colours = {module._colour() for _ in range(10)}
    assert len(colours) == 10
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
