import socket

import pytest

from darts_core.config import Config, DataConfig
from darts_core.tracking import ui as module
from darts_core.tracking.store import Store, TrackingError
from darts_core.tracking.ui import ui_command

CONFIG = Config(data=DataConfig(name="digits"))


@pytest.fixture(autouse=True)
def _store(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "connect", lambda cfg, *, create: Store(None, "7", tmp_path))


def test_a_server_is_linked_not_started(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:8080/")
    ui = ui_command(CONFIG)
    assert ui.command == ()
    assert ui.link == "http://server:8080/#/experiments/7/runs?workflowType=machine_learning&compareRunsMode=CHART"


def test_a_port_that_is_taken_is_passed_over(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ui = ui_command(CONFIG, port=taken)
        port = int(ui.command[-1])
        assert taken < port < taken + module.NUM_PORTS
        assert ui.link.startswith(f"http://127.0.0.1:{port}/#/experiments/7/runs?")
        assert ui.command[1:5] == ("-m", "mlflow", "ui", "--backend-store-uri")
        assert ui.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        monkeypatch.setattr(module, "NUM_PORTS", 1)
        with pytest.raises(TrackingError, match=f"No port from {taken} to {taken} is free"):
            ui_command(CONFIG, port=taken)
