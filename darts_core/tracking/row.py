"""One row an experiment, from six processes of which some are skipped: find it, or create it."""

from __future__ import annotations

import colorsys
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_core.config import Config
from darts_core.tracking import process
from darts_core.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
MAX_PARAMS = 100  # in one request, by MLflow's own limit


@dataclass
class Row:
    """The run that holds an experiment's numbers, and the child of the stage that is running now."""

    run_id: str
    child_id: str
    logged: set[tuple[str, int]] = field(default_factory=set)  # (metric, step) that the row has


def experiment_params(cfg: Config) -> dict[str, str]:
    """Return the parameters that make the experiment, flattened: ``search.epochs`` -> ``50``; text as it is, the rest as JSON.

    What changes no result is left out: ``tracking``, ``runtime.num_workers``, ``runtime.processes``, ``runtime.progress``.
    """
    return dict(_flatten(cfg.model_dump(mode="json", exclude={"tracking": True, "runtime": {"num_workers", "processes", "progress"}})))


def experiment_key(cfg: Config) -> str:
    """Return what the stages of one experiment have in common: a hash of parameters, source and host (16 hex digits)."""
    identity = json.dumps([experiment_params(cfg), source_hash(), socket.gethostname()], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def source_hash() -> str:
    """Return a hash of every .py and .json of darts_core and of the stages beside it (16 hex digits)."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for folder in (package, package.parent / "stages"):
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".json")):
            digest.update(f"{path.relative_to(package.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def open_row(store: Store, cfg: Config, *, stage: str, hardware: Mapping[str, str]) -> Row:
    """Find the newest row of this experiment, or create one where there is none or this stage has been done in it."""
    key = experiment_key(cfg)
    found = _search(store, f"tags.`darts.key` = '{key}'", limit=1)
    children = children_of(store, found[0].info.run_id) if found else []
    earlier = [child for child in children if child.data.tags.get("stage") == stage]
    tags = {"stage": stage, "darts.process": process.this_process(), **hardware}
    if not found or any(child.info.status in ("FINISHED", "RUNNING") for child in earlier):
        row = _create_row(store, cfg, key, tags)
        logged: set[tuple[str, int]] = set()
    else:
        row, logged = found[0], set(_points(store, found[0], stage) if earlier else ())
        _reopen(store, row, tags | _source_tags())
    return Row(row.info.run_id, create_child(store, row.info.run_id, tags | {"dvc.cached": "false"}), logged)


def create_child(store: Store, parent: str, tags: Mapping[str, str]) -> str:
    """Create the run of one stage execution under the row ``parent`` and return its id."""
    child = store.client.create_run(store.experiment_id, tags={**tags, PARENT: parent}, run_name=tags["stage"])
    return str(child.info.run_id)


def children_of(store: Store, run_id: str) -> list[Run]:
    """Return the stage executions of a row, newest first."""
    return _search(store, f"tags.`{PARENT}` = '{run_id}'")


def close_dead(store: Store) -> None:
    """Mark as killed the runs of this host whose process is gone: SIGKILL leaves them running for ever."""
    for run in _search(store, f"attributes.status = 'RUNNING' AND tags.`darts.process` LIKE '{socket.gethostname()}@%'"):
        if process.is_gone(run.data.tags["darts.process"]):
            store.client.set_tag(run.info.run_id, "darts.error", "the process ended without a word (killed?)", synchronous=True)
            store.client.set_terminated(run.info.run_id, "KILLED")


def _search(store: Store, query: str, *, limit: int = 1000) -> list[Run]:
    return list(store.client.search_runs([store.experiment_id], query, max_results=limit, order_by=["attributes.start_time DESC"]))


def _create_row(store: Store, cfg: Config, key: str, tags: Mapping[str, str]) -> Run:
    from mlflow.entities import Param

    tags = {**tags, **_source_tags(), "darts.key": key, "mlflow.runColor": _colour()}
    row = store.client.create_run(store.experiment_id, tags=tags, run_name=_run_name(cfg, key))
    params = [Param(name, value) for name, value in experiment_params(cfg).items()]
    for first in range(0, len(params), MAX_PARAMS):
        store.client.log_batch(row.info.run_id, params=params[first : first + MAX_PARAMS], synchronous=True)
    if Path("params.yaml").exists():
        store.client.log_artifact(row.info.run_id, "params.yaml")
    return row


def _run_name(cfg: Config, key: str) -> str:
    """Name the row after what tells experiments apart at a glance: the data, how the cell was found (or which one it is), the seed."""
    found = (
        [cfg.method.name, cfg.method.options.get("arch_gradient")] if cfg.derive.genotype == "search" else [Path(cfg.derive.genotype).stem]
    )
    return "-".join(str(part) for part in (cfg.data.name, *found, f"s{cfg.seed}", key[:6]) if part)


def _reopen(store: Store, row: Run, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    store.client.log_batch(row.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True)
    if "darts.error" in row.data.tags:
        store.client.delete_tag(row.info.run_id, "darts.error")
    store.client.update_run(row.info.run_id, status="RUNNING")


def _points(store: Store, row: Run, stage: str) -> Iterator[tuple[str, int]]:
    prefixes = (f"{stage}/", "alpha_") if stage == "search" else (f"{stage}/",)
    for name in row.data.metrics:
        if name.startswith(prefixes):
            yield from ((name, metric.step) for metric in store.client.get_metric_history(row.info.run_id, name))


def _source_tags() -> dict[str, str]:
    tags = {"source.hash": source_hash()}
    if name := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.exp"] = name
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags |= {"git.commit": commit, "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()}
    return tags


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _colour() -> str:
    hue = (time.time_ns() * 0.618034e-9) % 1.0  # golden section: neighbours in time are far apart in colour
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, 0.45, 0.65))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
