"""DVC's queue of experiments: put them in, let it run, read what came of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from darts_core.pipeline.experiments import Experiment, ExperimentError
from darts_core.report.methods import Outcome

ACCURACY, SECONDS = "test_acc", "search_s"
WAITING = ("queued", "running")
IDLE_STARTS = 3
"""Workers in a row that end without an experiment begun or ended, after which it is no use to start another."""

STARTING_LOOKS = 12
"""At the queue, in which a worker that was started may not have shown itself yet: a minute."""

Run = Callable[[Sequence[str]], str]
"""Runs a command in the project's folder and returns what it prints; raises ``ExperimentError`` where it fails."""


def command(folder: Path) -> Run:
    """Return what runs a command in ``folder`` and returns its output when it ends, and not when a worker that it leaves behind does.

    Such a worker holds on to its output: of a pipe nobody would see the end before that.
    """

    def run(arguments: Sequence[str]) -> str:
        with TemporaryFile() as out, TemporaryFile() as err:
            try:
                done = subprocess.run(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False)  # noqa: S603
            except OSError as error:
                raise ExperimentError(f"{arguments[0]}: cannot be run ({error.strerror}). Install it.") from None
            told, complained = (_written(file) for file in (out, err))
        if done.returncode:
            raise ExperimentError(f"{' '.join(arguments)} failed:\n{(complained or told).strip()}")
        return told

    return run


def _written(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def require_committed(run: Run) -> None:
    """Raise ``ExperimentError`` outside of git, or where tracked files have changes: an experiment belongs to a commit."""
    try:
        changed = run(["git", "status", "--porcelain", "--untracked-files=no", "."])
    except ExperimentError as error:
        raise ExperimentError(f"A git repository expected, for DVC keeps experiments in one. Run git init, and commit.\n{error}") from None
    if changed.strip():
        raise ExperimentError(
            f"Changes that are not committed would be part of some experiments only. Commit or undo them:\n{changed.rstrip()}"
        )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What DVC knows of an experiment of the present commit: its state (success, queued, running, failed) and its metrics."""

    state: str
    metrics: dict[str, float]


class Queue:
    """The queue of the project in which ``run`` runs commands; ``wait`` lets so many seconds pass between two looks."""

    def __init__(self, run: Run, *, poll_s: float = 5.0, wait: Callable[[float], None] = time.sleep) -> None:
        self._run = run
        self._poll_s = poll_s
        self._wait = wait

    def _dvc(self, *arguments: str) -> str:
        return self._run([sys.executable, "-m", "dvc", *arguments])

    def shown(self) -> dict[str, Shown]:
        """Return the experiments of the present commit by name."""
        head = self._run(["git", "rev-parse", "HEAD"]).strip()
        found: dict[str, Shown] = {}
        for baseline in json.loads(self._dvc("exp", "show", "--json")):
            for one in (baseline.get("experiments") or []) if baseline["rev"] == head else []:
                revision = one["revs"][0]
                state = (one.get("executor") or {}).get("state") or ("failed" if revision.get("error") else "success")
                found[one.get("name") or revision["rev"]] = Shown(state=state, metrics=_metrics(revision))
        return found

    def put(self, experiment: Experiment) -> None:
        """Queue an experiment."""
        self._dvc("exp", "run", "--queue", "--name", experiment.name, *(part for each in experiment.changes for part in ("-S", each)))

    def drop(self, name: str) -> None:
        """Take a failed experiment out of the queue, so that it can be put there again."""
        self._dvc("queue", "remove", name)

    def work(self, names: Iterable[str], *, jobs: int, say: Callable[[str], None]) -> None:
        """Let workers run until none of ``names`` waits, and ``say`` when one begins or ends.

        DVC's worker may end with experiments left in the queue (iterative/dvc issues 8165 and 10562); then another is started. Raise
        ``ExperimentError`` where several in a row get nowhere.
        """
        wanted, in_vain, patience = set(names), 0, 0
        before: dict[str, str] = {}
        while True:
            states, is_working = self._status()
            now = {name: states[name] for name in wanted if name in states}
            for name, state in sorted(now.items()):
                if before.get(name) != state and state != "queued":
                    say(f"{name}: {state}")
            if now != before:
                in_vain = patience = 0
            before = now
            if not any(state in WAITING for state in now.values()):
                return
            if is_working:
                patience = 0
            elif patience:
                patience -= 1
            else:
                if in_vain == IDLE_STARTS:
                    raise ExperimentError("DVC's worker ends and leaves experiments in the queue. See .dvc/tmp/exps/celery/*.out.")
                in_vain, patience = in_vain + 1, STARTING_LOOKS
                self._dvc("queue", "start", "--jobs", str(jobs))
            self._wait(self._poll_s)

    def _status(self) -> tuple[dict[str, str], bool]:
        """Return the state of each task by name, and whether a worker is there."""
        text = self._dvc("queue", "status")
        tasks = re.findall(r"^[0-9a-f]{7}\s+(\S+)\s.*\b(Queued|Running|Success|Failed)\s*$", text, re.MULTILINE)
        workers = re.search(r"(\d+) active, (\d+) idle", text)
        return {name: state.lower() for name, state in reversed(tasks)}, workers is not None and any(map(int, workers.groups()))


def _metrics(revision: dict[str, Any]) -> dict[str, float]:
    files = ((revision.get("data") or {}).get("metrics") or {}).values()
    return {key: value for file in files for key, value in (file.get("data") or {}).items() if isinstance(value, int | float)}


def outcome(experiment: Experiment, shown: Shown | None) -> Outcome | None:
    """Return what came of an experiment; None where it has not ended well, or lacks the accuracy."""
    if shown is None or shown.state != "success" or ACCURACY not in shown.metrics:
        return None
    metrics = shown.metrics
    return Outcome(
        method=experiment.method,
        seed=experiment.seed,
        accuracy=metrics[ACCURACY],
        seconds=metrics.get(SECONDS, float("nan")),
        percentile=metrics.get("table_percentile"),
    )
