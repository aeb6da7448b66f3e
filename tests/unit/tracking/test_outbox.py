import logging
import math

import pytest

from darts_core.tracking import outbox as module
from darts_core.tracking.outbox import Outbox, open_outbox
from darts_core.tracking.process import this_process
from darts_core.tracking.store import Store


class Server:
    """Stands in for MLflow: remembers what arrived, and can be down."""

    def __init__(self):
        self.arrived = []
        self.error = None
        self.attempts = 0

    def __call__(self, client, item):
        self.attempts += 1
        if self.error:
            raise self.error
        content = {path.name: path.read_text() for path in [module.Path(item["path"])]} if "path" in item else {}
        self.arrived.append((item["do"], item.get("values"), content))


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(module, "deliver", server)
    return server


def metrics(value):
    return {"do": "metrics", "run": "r", "time": 0, "values": [["a", value, 0]]}


def values(server):
    return [values[0][1] for do, values, _ in server.arrived if do == "metrics"]


def test_what_a_dead_server_missed_arrives_later_in_order(server, tmp_path, caplog):
    outbox = Outbox(None, tmp_path / "kept")
    outbox.put(metrics(1.0))
    server.error = ConnectionError("refused")
    report = tmp_path / "a.txt"
    report.write_text("as it was")
    outbox.put(metrics(2.0))
    outbox.put({"do": "file", "run": "r", "path": str(report), "to": ""})
    report.write_text("of the next run")
    outbox.put(metrics(math.nan))
    assert "the training goes on" in caplog.text
    server.error = None
    outbox.close()
    assert values(server)[:2] == [1.0, 2.0]
    assert math.isnan(values(server)[2])
    assert [do for do, _, _ in server.arrived] == ["metrics", "metrics", "file", "metrics"]
    assert server.arrived[2][2] == {"a.txt": "as it was"}
    assert not (tmp_path / "kept").exists()


def test_a_dead_server_is_asked_rarely(server, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    outbox = Outbox(None, tmp_path / "kept")
    server.error = ConnectionError("refused")
    for step in range(50):
        outbox.put(metrics(float(step)))
    assert server.attempts == 1
    now[0] += module.LEAST_PAUSE_S
    server.error = None
    outbox.put(metrics(50.0))
    assert values(server) == [float(step) for step in range(51)]


def test_a_server_that_dies_again_leaves_the_rest(server, tmp_path, monkeypatch):
    outbox = Outbox(None, tmp_path / "kept")
    server.error = ConnectionError("refused")
    for step in range(4):
        outbox.put(metrics(float(step)))
    server.error = None
    monkeypatch.setattr(outbox, "_send", fails_after(outbox._send, 2))
    assert not outbox.flush()
    monkeypatch.undo()
    monkeypatch.setattr(module, "deliver", server)
    assert outbox.flush()
    assert values(server) == [0.0, 1.0, 2.0, 3.0]


def fails_after(send, times):
    calls = iter([True] * times)
    return lambda item: next(calls, False) and send(item)


def test_what_mlflow_refuses_is_reported_once_and_blocks_nothing(server, tmp_path, caplog):
    outbox = Outbox(None, tmp_path / "kept")
    server.error = ValueError("invalid key")
    outbox.put(metrics(1.0))
    server.error = None
    outbox.put(metrics(2.0))
    assert "refused metrics: invalid key" in caplog.text
    assert values(server) == [2.0]


def test_a_full_disk_loses_a_line_and_not_the_training(server, tmp_path, caplog):
    (tmp_path / "kept").write_text("a file where the folder should be")
    server.error = ConnectionError("refused")
    Outbox(None, tmp_path / "kept").put(metrics(1.0))
    assert "is lost" in caplog.text


def test_a_new_stage_sends_what_dead_processes_left_and_leaves_living_ones_alone(server, tmp_path, monkeypatch):
    host = this_process().split("@")[0]
    server.error = ConnectionError("refused")
    report = tmp_path / "a.txt"
    report.write_text("kept")
    for owner in (f"{host}@4194305@1", f"{host}@1@{_start_of_init()}", "elsewhere@7@7"):
        outbox = Outbox(None, tmp_path / owner)
        outbox.put(metrics(float(len(owner))))
        outbox.put({"do": "file", "run": "r", "path": str(report), "to": ""})
    server.error = None
    open_outbox(Store(None, "0", tmp_path))
    assert [do for do, _, _ in server.arrived] == ["metrics", "file"]
    assert server.arrived[1][2] == {"a.txt": "kept"}
    assert len(list(tmp_path.glob("*@*"))) == 2


def _start_of_init():
    import psutil

    return f"{psutil.Process(1).create_time():.0f}"


def test_logging_uses_up_no_random_number(tmp_path, monkeypatch):
    import random

    import numpy as np

    def greedy(client, item):
        random.random()
        np.random.rand()

    monkeypatch.setattr(module, "deliver", greedy)
    random.seed(0)
    np.random.seed(0)
    expected = random.Random(0).random(), np.random.RandomState(0).rand()
    Outbox(None, tmp_path / "kept").put(metrics(1.0))
    assert (random.random(), np.random.rand()) == expected


def test_nothing_is_said_when_all_is_well(server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    outbox = Outbox(None, tmp_path / "kept")
    outbox.put(metrics(1.0))
    outbox.close()
    assert caplog.text == ""
