"""Where the MLflow store is, and how to reach it without waiting for ever."""

from __future__ import annotations

import hashlib
import os
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from darts_core.config import Config

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# Set before mlflow is imported, and only where the user has not: its own values wait four minutes for a dead server.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # it announces each table that it creates
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
DATABASE = r"(sqlite|postgresql|mysql|mssql)[+:]"


class TrackingError(RuntimeError):
    """MLflow cannot be used; the message says where it was sought and what to change."""


@dataclass(frozen=True)
class Store:
    """A store that has answered: its client, the experiment's id, and the folder for what cannot be sent."""

    client: MlflowClient
    experiment_id: str
    spool: Path


def root() -> Path:
    """Return where ``mlflow.db`` and ``.checkpoints`` lie: ``$DVC_ROOT`` (also inside a queued experiment), else here."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def store_uri(cfg: Config) -> str:
    """Return ``$MLFLOW_TRACKING_URI``, else ``tracking.uri``, else the sqlite file in :func:`root`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or cfg.tracking.uri or f"sqlite:///{root() / 'mlflow.db'}"


def connect(cfg: Config, *, create: bool = True) -> Store:
    """Open the store and find the experiment ``tracking.experiment``, or create both.

    Raise ``TrackingError`` where the store does not answer or may not be used; with ``create=False`` also where
    nothing has been stored yet.
    """
    uri = store_uri(cfg)
    shown = re.sub(r"//[^/@]*@", "//", uri)  # a password in the address is not for the log
    if not create and uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(f"There is no MLflow store yet ({shown}). Run `dvc repro` first, or set MLFLOW_TRACKING_URI.")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    spool = root() / ".checkpoints" / "tracking" / hashlib.sha256(uri.encode()).hexdigest()[:8]
    try:
        spool.mkdir(parents=True, exist_ok=True)
        with undisturbed(), FileLock(spool / "schema.lock"):  # of two processes that create the tables at once, one would die
            client, experiment_id = _open(uri, cfg.tracking.experiment, create=create)
    except TrackingError:
        raise
    except Exception as error:  # drivers, drives and servers fail in types of their own; each ends here, before any training
        reason = re.sub(r"//[^/@\s]*@", "//", str(error)).partition("\n")[0]
        raise TrackingError(
            f"MLflow does not answer at {shown}: {type(error).__name__}: {reason.rstrip('.')}. "
            "Start the server, correct MLFLOW_TRACKING_URI or tracking.uri, or set tracking.enabled: false."
        ) from None
    return Store(client, experiment_id, spool)


def _open(uri: str, name: str, *, create: bool) -> tuple[MlflowClient, str]:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if re.match(DATABASE, uri):
        _ask_once(uri)
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None and not create:
        raise TrackingError(f"tracking.experiment: the store holds no '{name}' yet. Run `dvc repro` first.")
    if experiment is None:
        # A server decides for itself where artifacts go; a database would put them beside whoever happens to be running.
        location = None if uri.startswith("http") else (root() / "mlartifacts").as_uri()
        try:
            return client, str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # somebody else was first
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise TrackingError(f"tracking.experiment: '{name}' was deleted. Restore it in MLflow, or choose another name.")
    return client, str(experiment.experiment_id)


def _ask_once(uri: str) -> None:
    """Raise where a database does not answer: mlflow itself would try for 105 seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the random numbers of the training as they are (mlflow draws from them), and mlflow's deprecations to itself."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
