import inspect
import json

import pytest
import torch

from darts_core.tracking.row import Row
from darts_core.tracking.tracker import MAX_NOTE, NullTracker, Tracker


class Outbox(list):
    """Keeps the items."""

    closed = False

    def put(self, item):
        json.dumps(item)  # an item that is no JSON could not be kept
        self.append(item)

    def close(self):
        self.closed = True


def tracker(stage="search", *, all_edges=False, log_model=False):
    outbox = Outbox()
    return Tracker(outbox, Row("row", "child"), stage=stage, all_edges=all_edges, log_model=log_model), outbox


def points(outbox):
    return [tuple(point) for item in outbox if item["do"] == "metrics" for point in item["values"]]


def test_an_epoch_is_one_item_and_a_repeated_epoch_none():
    log, outbox = tracker()
    epoch = {"train_loss": 1.5, "alpha_normal/none": 0.25, "alpha_normal/edge 0-2/none": 0.125}
    log.log(epoch, 3)
    log.log(epoch, 3)
    assert len(outbox) == 1
    assert outbox[0]["run"] == "row"
    assert points(outbox) == [("search/train_loss", 1.5, 3), ("alpha_normal/none", 0.25, 3)]


def test_every_edge_is_logged_where_it_was_asked_for():
    log, outbox = tracker(all_edges=True)
    log.log({"alpha_normal/edge 0-2/none": torch.tensor(0.125)}, 0)
    assert points(outbox) == [("alpha_normal/edge 0-2/none", 0.125, 0)]


def test_a_baseline_has_a_section_of_its_own():
    log, outbox = tracker("retrain")
    log.log({"valid_acc": 50}, 1, network="resnet20")
    assert points(outbox) == [("retrain/resnet20/valid_acc", 50.0, 1)]


def test_finish_adds_what_was_not_logged_and_every_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reports = tmp_path / "reports" / "search"
    reports.mkdir(parents=True)
    (reports / "history.csv").write_text("epoch,train_loss,lr\n1,2.5,0.1\n2,2.0,0.05\n")
    (reports / "metrics.json").write_text('{"search_valid_acc": 90.0}')
    (reports / "alphas_normal_epoch_2.png").touch()
    (reports / "note.md").write_text("| test |")
    log, outbox = tracker()
    log.log({"train_loss": 2.0}, 2)
    log.image("alphas_normal", reports / "alphas_normal_epoch_2.png", step=2)
    log.finish(reports)
    assert points(outbox) == [
        ("search/train_loss", 2.0, 2),
        ("accuracy/search_valid", 90.0, 0),
        ("search/train_loss", 2.5, 1),
        ("search/lr", 0.1, 1),
        ("search/lr", 0.05, 2),
    ]
    assert [(item["run"], item["step"]) for item in outbox if item["do"] == "image"] == [("child", 2)]
    assert [item["tags"] for item in outbox if item["do"] == "tags"] == [{"mlflow.note.content": "| test |"}]
    assert [(item["run"], item["path"], item["to"]) for item in outbox if item["do"] == "file"] == [("row", str(reports), "search")]


def test_the_genotype_and_the_data_set_belong_to_the_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in (("data/genotype/genotype.json", "{}"), ("data/prepared/spec.json", '{"name": "digits", "content_hash": "abc"}')):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    log, outbox = tracker("derive_genotype")
    log.finish(tmp_path)
    assert [item["path"] for item in outbox if item["do"] == "file"] == [str(tmp_path), str(tmp_path / "data/genotype/genotype.json")]
    log, outbox = tracker("prepare_data")
    log.finish(tmp_path)
    assert [item["digest"] for item in outbox if item["do"] == "dataset"] == ["abc"]


@pytest.mark.parametrize(
    ("stage", "error", "child", "row"),
    [
        ("search", None, "FINISHED", "SCHEDULED"),
        ("evaluate", None, "FINISHED", "SCHEDULED"),
        ("benchmark_hw", None, "FINISHED", "FINISHED"),
        ("search", ValueError("search.lr: too large"), "FAILED", "FAILED"),
        ("benchmark_hw", KeyboardInterrupt(), "KILLED", "KILLED"),
    ],
)
def test_the_end_is_told_as_it_was(stage, error, child, row):
    log, outbox = tracker(stage)
    log.end(error)
    assert [(item["run"], item["status"]) for item in outbox if item["do"] == "end"] == [("child", child), ("row", row)]
    errors = [item["tags"]["darts.error"] for item in outbox if item["do"] == "tags"]
    assert errors == ([] if error is None else [f"{type(error).__name__}: {error}"] * 2)
    assert outbox.closed


def test_a_note_fits_into_a_tag():
    log, outbox = tracker()
    log.note("x" * 10_000)
    assert outbox == [{"do": "tags", "run": "row", "time": outbox[0]["time"], "tags": {"mlflow.note.content": "x" * MAX_NOTE}}]


def test_a_model_is_stored_only_when_asked_for_and_a_failed_export_is_only_a_warning(monkeypatch, caplog):
    import mlflow.pytorch

    def save(network, path, *, input_example, pip_requirements):
        torch.rand(1)
        path.mkdir()
        (path / "MLmodel").write_text(str(input_example.shape))

    def fail(*_, **__):
        raise RuntimeError("cannot export")

    network, example = torch.nn.Flatten(), torch.zeros(2, 1, 8, 8)
    monkeypatch.setattr(mlflow.pytorch, "save_model", save)
    log, outbox = tracker("retrain")
    log.model(network, example)
    assert outbox == []
    log, outbox = tracker("retrain", log_model=True)
    state = torch.get_rng_state()
    log.model(network, example)
    assert torch.equal(torch.get_rng_state(), state)
    assert [(item["do"], item["to"]) for item in outbox] == [("file", "model")]
    monkeypatch.setattr(mlflow.pytorch, "save_model", fail)
    log.model(network, example)
    assert len(outbox) == 1
    assert "cannot export" in caplog.text


def test_the_null_tracker_has_the_same_methods():
    shared = {name for name in vars(NullTracker) if not name.startswith("_")}
    assert shared == {name for name in vars(Tracker) if not name.startswith("_")} - {"end", "end_stage"}
    for name in shared:
        assert inspect.signature(getattr(NullTracker, name)) == inspect.signature(getattr(Tracker, name))
