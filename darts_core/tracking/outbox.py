"""What is to be sent to MLflow; what cannot be sent is kept in a file, so that a dead server costs no training."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_core.tracking import process
from darts_core.tracking.store import Store, undisturbed

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Item = Mapping[str, Any]  # JSON: "do" and "run", and what MLflow is told
MAX_METRICS = 1000  # in one request, by MLflow's own limit
REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "INVALID_STATE"}  # no second try helps
LEAST_PAUSE_S = 30.0
PAUSE_FACTOR = 20.0  # after a failure that took t seconds wait 20 t: at most 5 % of the training goes to a dead server
log = logging.getLogger(__name__)


class Outbox:
    """Sends items in order. After a failure they go to ``folder / "items.jsonl"`` until the server is back."""

    def __init__(self, client: MlflowClient, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._file = folder / "items.jsonl"
        self._retry_at = 0.0

    def put(self, item: Item) -> None:
        """Send ``item``, or keep it. Nothing that goes wrong here is raised."""
        if time.monotonic() < self._retry_at or not self.flush() or not self._send(item):
            self._keep(item)

    def flush(self) -> bool:
        """Send what was kept, and return whether nothing is left."""
        if not self._file.exists():
            return True
        lines = self._file.read_text(encoding="utf-8").splitlines()
        for sent, line in enumerate(lines):
            item = json.loads(line)
            if "path" in item:
                item["path"] = str(self._folder / item["path"])
            if not self._send(item):
                rest = self._file.with_suffix(".part")
                rest.write_text("".join(f"{kept}\n" for kept in lines[sent:]), encoding="utf-8")
                rest.replace(self._file)
                return False
        shutil.rmtree(self._folder)
        return True

    def close(self) -> None:
        """Try once more, now, and say so if something is left for the next stage."""
        if not self.flush():
            log.warning("tracking: MLflow does not answer; what it has not got is kept in %s and sent by the next stage.", self._folder)

    def _send(self, item: Item) -> bool:
        start = time.monotonic()
        try:
            with undisturbed():
                deliver(self._client, item)
        except Exception as error:  # whatever a server, a drive or an object store raises: it must not end a training
            if is_refused(error):
                log.warning("tracking: MLflow refused %s: %s", _describe(item), error)
                return True
            if not self._retry_at:
                log.warning("tracking: %s could not be sent (%s); the training goes on.", _describe(item), error)
            now = time.monotonic()
            self._retry_at = now + max(LEAST_PAUSE_S, PAUSE_FACTOR * (now - start))
            return False
        self._retry_at = 0.0
        return True

    def _keep(self, item: Item) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if "path" in item:  # the next run overwrites the reports
                source = Path(item["path"])
                copy = self._folder / f"{time.time_ns()}" / source.name
                (shutil.copytree if source.is_dir() else _copy)(source, copy)
                item = {**item, "path": str(copy.relative_to(self._folder))}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(item) + "\n")
        except OSError as error:  # a full disk must not end a training either
            log.warning("tracking: %s is lost: %s", _describe(item), error)


def open_outbox(store: Store) -> Outbox:
    """Return this process's outbox, after sending what processes that are gone have left."""
    for folder in _left_behind(store.spool):
        Outbox(store.client, folder).flush()
    return Outbox(store.client, store.spool / process.this_process())


def _left_behind(spool: Path) -> Iterator[Path]:
    for folder in sorted(spool.glob("*@*")):
        owner = folder.name.partition("+")[0]
        if process.is_gone(owner):
            claimed = spool / f"{process.this_process()}+{time.time_ns()}"
            try:
                folder.rename(claimed)  # of two processes that try, one succeeds
            except FileNotFoundError:
                continue
            yield claimed


def deliver(client: MlflowClient, item: Item) -> None:
    """Tell MLflow one thing."""
    from mlflow import Image
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

    run_id, path = item["run"], str(item.get("path"))
    match item["do"]:
        case "metrics":
            metrics = [Metric(name, value, item["time"], step) for name, value, step in item["values"]]
            for first in range(0, len(metrics), MAX_METRICS):
                client.log_batch(run_id, metrics=metrics[first : first + MAX_METRICS], synchronous=True)
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in item["tags"].items()], synchronous=True)
        case "file":
            send = client.log_artifacts if Path(path).is_dir() else client.log_artifact
            send(run_id, path, item["to"] or None)
        case "image":
            client.log_image(run_id, Image(path), key=item["key"], step=item["step"], timestamp=item["time"], synchronous=True)
        case "dataset":
            data = Dataset(item["name"], item["digest"], source_type="local", source=item["source"])
            client.log_inputs(run_id, datasets=[DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        case "end":
            client.set_terminated(run_id, item["status"], end_time=item["time"])


def is_refused(error: Exception) -> bool:
    """Return whether sending the same again would fail in the same way."""
    return isinstance(error, ValueError | TypeError | FileNotFoundError) or getattr(error, "error_code", None) in REFUSED


def _describe(item: Item) -> str:
    return f"{item['do']} {item.get('path', '')}".strip()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    shutil.copy2(source, target)
