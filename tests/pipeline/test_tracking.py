"""Whole flows through a real sqlite store: rows, children, back-fill, crashes, a process that is killed, a server that dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from darts_core import tracking
from darts_core.config import Config
from darts_core.tracking import outbox
from darts_core.tracking.reports import REPORTS
from darts_core.tracking.store import connect

STAGES = tuple(REPORTS)


def config(**changes):
    return Config.model_validate({"data": {"name": "digits"}, **changes})


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty store; its tables take seconds to create."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(config(tracking={"experiment": "unused"}))
    return folder / "mlflow.db"


@pytest.fixture
def project(database, tmp_path, monkeypatch):
    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    (tmp_path / "params.yaml").write_text("data: {name: digits}\n")
    return tmp_path


def write_reports(stage, *, epochs=3):
    folder = REPORTS[stage][0]
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"search": {"search_valid_acc": 90.0}, "evaluate": {"test_acc": 99.0, "params_m": 0.5}}
    (folder / "metrics.json").write_text(json.dumps(numbers.get(stage, {})))
    (folder / "resources.json").write_text(json.dumps({f"{stage}_s": 1.5, f"{stage}_rss_mib": 300.0}))
    if stage == "prepare_data":
        Path("data/prepared").mkdir(parents=True, exist_ok=True)
        Path("data/prepared/spec.json").write_text('{"name": "digits", "content_hash": "abc"}')
    if stage in ("search", "retrain"):
        rows = "".join(f"{epoch},{1 / epoch}\n" for epoch in range(1, epochs + 1))
        (folder / "history.csv").write_text("epoch,train_loss\n" + rows)
    if stage == "search":
        (folder / "alphas_normal.csv").write_text("epoch,none\n" + "".join(f"{epoch},0.5\n" for epoch in range(1, epochs + 1)))
        (folder / "alphas.csv").write_text("epoch,cell,edge,op,weight\n1,normal,0-2,none,0.5\n")


def execute(stage, cfg, *, epochs=3, fail_at=None, error=None):
    """Run a stage as the stages do."""
    with tracking.run(stage, cfg, hardware={"hw.device": "cpu", "hw.backend": "cpu", "torch.version": "2"}) as log:
        for epoch in range(1, epochs + 1) if stage in ("search", "retrain") else ():
            if epoch == fail_at:
                raise error
            log.log({"train_loss": 1 / epoch}, epoch)
        write_reports(stage, epochs=epochs)
        log.finish(REPORTS[stage][0])


def rows(cfg):
    """All rows, oldest first, each with its children by stage."""
    store = connect(cfg)
    runs = store.client.search_runs([store.experiment_id], order_by=["attributes.start_time ASC"])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return [(row, [run for run in runs if run.data.tags.get("mlflow.parentRunId") == row.info.run_id]) for row in parents]


def history(cfg, row, name):
    return sorted((point.step, point.value) for point in connect(cfg).client.get_metric_history(row.info.run_id, name))


def artifacts(cfg, row, folder=None):
    return {entry.path for entry in connect(cfg).client.list_artifacts(row.info.run_id, folder)}


def outline(children):
    return sorted((child.data.tags["stage"], child.info.status, child.data.tags["dvc.cached"]) for child in children)


def test_six_stages_make_one_comparable_row(project):
    cfg = config(seed=3, method={"name": "darts", "arch_gradient": "exact"})
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    for stage in STAGES:
        execute(stage, cfg)
    [(row, children)] = rows(cfg)
    assert outline(children) == sorted((stage, "FINISHED", "false") for stage in STAGES)
    assert row.info.status == "FINISHED"
    assert row.info.run_name.startswith("digits-darts-exact-s3-")
    expected = {"accuracy/search_valid": 90.0, "accuracy/test": 99.0, "cost/params_m": 0.5, "cost/search_s": 1.5}
    assert expected.items() <= row.data.metrics.items()
    assert history(cfg, row, "search/train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert [step for step, _ in history(cfg, row, "alpha_normal/none")] == [1, 2, 3]
    assert row.data.params["search.epochs"] == "50"
    assert row.data.tags["hw.device"] == "cpu"
    assert row.data.tags["mlflow.runColor"].startswith("#")
    assert {"params.yaml", "dvc.lock", "spec.json", "search", "evaluate"} <= artifacts(cfg, row)
    assert "search/alphas_normal.csv" in artifacts(cfg, row, "search")
    [data] = row.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "abc")


def test_an_experiment_is_finished_after_the_last_stage_and_no_sooner(project):
    cfg, other = config(), config(seed=1)
    for stage in STAGES[:3]:
        with tracking.run(stage, cfg):
            [(row, _)] = rows(cfg)
            assert row.info.status == "RUNNING"
    [(row, _)] = rows(cfg)
    assert row.info.status == "SCHEDULED"
    connect(cfg).client.set_tag(row.info.run_id, "darts.process", f"{socket.gethostname()}@4194305@1")  # as if of one that has ended
    execute("prepare_data", other)
    (row, children), _ = rows(cfg)
    assert (row.info.status, "darts.error" in row.data.tags) == ("SCHEDULED", False), "nobody was killed"
    for stage in STAGES[3:]:
        execute(stage, cfg)
    (row, children), _ = rows(cfg)
    assert (row.info.status, len(children)) == ("FINISHED", 6)


def test_a_skipped_search_is_replayed_into_the_new_row(project):
    first, second = config(tracking={"alphas": "full"}), config(retrain={"epochs": 7}, tracking={"alphas": "full"})
    for stage in STAGES:
        execute(stage, first)
    for stage in ("retrain", "evaluate", "benchmark_hw"):  # what DVC runs after a change of retrain.epochs
        execute(stage, second)
    (old, _), (new, children) = rows(second)
    cached = ("prepare_data", "search", "derive_genotype")
    assert outline(children) == sorted((stage, "FINISHED", str(stage in cached).lower()) for stage in STAGES)
    assert new.data.metrics == old.data.metrics
    assert history(second, new, "search/train_loss") == history(first, old, "search/train_loss")
    assert new.data.metrics["alpha_normal/edge 0-2/none"] == 0.5
    assert artifacts(second, new) == artifacts(first, old)
    assert new.inputs.dataset_inputs[0].dataset.digest == "abc"


def test_a_repeated_benchmark_is_a_complete_row_of_its_own(project):
    cfg = config()
    for stage in STAGES:
        execute(stage, cfg)
    execute("benchmark_hw", cfg)
    (first, _), (second, children) = rows(cfg)
    assert outline(children) == sorted((stage, "FINISHED", str(stage != "benchmark_hw").lower()) for stage in STAGES)
    assert second.data.metrics == first.data.metrics
    assert second.data.tags["darts.key"] == first.data.tags["darts.key"]
    assert second.data.tags["mlflow.runColor"] != first.data.tags["mlflow.runColor"]


@pytest.mark.parametrize(("error", "status"), [(ValueError("search.lr: bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_stage_that_fails_is_continued_in_its_row_without_a_point_twice(project, error, status):
    cfg = config()
    with pytest.raises(type(error)):
        execute("search", cfg, fail_at=3, error=error)
    [(row, children)] = rows(cfg)
    assert outline(children) == [("search", status, "false")]
    assert row.info.status == status
    assert row.data.tags["darts.error"] == children[0].data.tags["darts.error"] == f"{type(error).__name__}: {error}"
    execute("search", cfg)
    [(row, children)] = rows(cfg)
    assert sorted(child.info.status for child in children) == sorted([status, "FINISHED"])
    assert row.info.status == "SCHEDULED"
    assert "darts.error" not in row.data.tags
    assert [step for step, _ in history(cfg, row, "search/train_loss")] == [1, 2, 3]


def test_a_killed_process_is_found_out_by_the_next_stage(project):
    cfg = config()
    script = textwrap.dedent("""
        import os, signal
        from darts_core import tracking
        from darts_core.config import Config

        with tracking.run("search", Config.model_validate({"data": {"name": "digits"}})) as log:
            log.log({"train_loss": 1.0}, 1)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [(row.info.status, outline(children)) for row, children in rows(cfg)] == [("RUNNING", [("search", "RUNNING", "false")])]
    execute("search", cfg)
    [(row, children)] = rows(cfg)
    assert sorted(child.info.status for child in children) == ["FINISHED", "KILLED"]
    [killed] = [child for child in children if child.info.status == "KILLED"]
    assert killed.data.tags["darts.error"] == "the process ended without a word (killed?)"
    assert row.info.status == "SCHEDULED"
    assert [step for step, _ in history(cfg, row, "search/train_loss")] == [1, 2, 3]


def test_a_server_that_dies_during_training_costs_nothing(project, monkeypatch, caplog):
    cfg = config()
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise ConnectionError("refused")

        with tracking.run("search", cfg) as log:
            log.log({"train_loss": 1.0}, 1)
            patch.setattr(outbox, "deliver", refuse)
            log.log({"train_loss": 0.5}, 2)
            write_reports("search")
            log.finish(REPORTS["search"][0])
    assert "sent by the next stage" in caplog.text
    [(row, _)] = rows(cfg)
    assert row.info.status == "RUNNING"
    [kept] = (project / ".checkpoints" / "tracking").glob("*/*@*")
    kept.rename(kept.with_name(f"{kept.name.split('@')[0]}@4194305@1"))  # as if of a process that has ended
    shutil.rmtree("reports")
    execute("retrain", cfg)
    [(row, children)] = rows(cfg)
    assert outline(children) == [("retrain", "FINISHED", "false"), ("search", "FINISHED", "false")]
    assert [step for step, _ in history(cfg, row, "search/train_loss")] == [1, 2, 3]
    assert "search/history.csv" in artifacts(cfg, row, "search")
    assert not list((project / ".checkpoints" / "tracking").glob("*/*@*"))


def test_a_step_image_is_on_the_stage_and_the_note_on_the_row(project):
    from PIL import Image

    cfg = config()
    Image.new("RGB", (4, 4)).save("a.png")
    with tracking.run("search", cfg) as log:
        log.image("alphas_normal", Path("a.png"), step=5)
        log.note("| accuracy |\n|---|\n| 99 |")
    [(row, [child])] = rows(cfg)
    assert any("alphas_normal" in path and "step" in path and "5" in path for path in artifacts(cfg, child, "images"))
    assert row.data.tags["mlflow.note.content"].startswith("| accuracy |")


@pytest.mark.parametrize("off", [{"enabled": False}, {"params": {"tracking": {"enabled": False}}}])
def test_switched_off_it_touches_nothing(project, off):
    (project / "mlflow.db").unlink()
    with tracking.run("search", config(**off.get("params", {})), enabled=off.get("enabled", True)) as log:
        log.log({"train_loss": 1.0}, 1)
        log.finish(Path("reports/search"))
    assert isinstance(log, tracking.NullTracker)
    assert {path.name for path in project.iterdir()} == {"params.yaml"}


def test_an_unknown_stage_is_an_error(project):
    with pytest.raises(ValueError, match=r"stage: one of prepare_data, .*Got 'train'"), tracking.run("train", config()):
        pass


def test_the_ui_opens_on_the_experiment_of_params(project):
    execute("evaluate", config())
    ui = tracking.ui_command(config())
    assert f"#/experiments/{connect(config()).experiment_id}/runs" in ui.link
    assert f"sqlite:///{project}/mlflow.db" in ui.command
    with pytest.raises(tracking.TrackingError, match="holds no 'other' yet"):
        tracking.ui_command(config(tracking={"experiment": "other"}))
