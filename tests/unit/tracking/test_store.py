import socket

import pytest

from darts_core.config import Config, DataConfig, TrackingConfig
from darts_core.tracking.store import TrackingError, connect, root, store_uri


def config(**tracking):
    return Config(data=DataConfig(name="digits"), tracking=TrackingConfig(**tracking))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_the_store_is_found_from_a_queued_experiment_too(tmp_path, monkeypatch):
    assert store_uri(config()) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert root() == tmp_path / "main"
    assert store_uri(config()) == f"sqlite:///{tmp_path}/main/mlflow.db"


def test_the_environment_wins_over_params_and_params_over_the_default(monkeypatch):
    assert store_uri(config(uri="http://b")) == "http://b"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a")
    assert store_uri(config(uri="http://b")) == "http://a"


def test_a_dead_server_is_named_at_once_with_what_to_change(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = closed.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        with pytest.raises(TrackingError, match=rf"does not answer at http://127.0.0.1:{port}: .*tracking.enabled: false") as raised:
            connect(config())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:///a-folder", "sqlite:///text.db", "postgresql://127.0.0.1:1/mlflow"])
def test_a_store_that_cannot_be_opened_is_one_clear_error(uri, tmp_path):
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one " * 10)
    with pytest.raises(TrackingError, match=r"correct MLFLOW_TRACKING_URI or tracking\.uri"):
        connect(config(uri=uri))


def test_looking_creates_nothing(tmp_path):
    with pytest.raises(TrackingError, match=r"no MLflow store yet .*dvc repro"):
        connect(config(), create=False)
    assert list(tmp_path.iterdir()) == []
