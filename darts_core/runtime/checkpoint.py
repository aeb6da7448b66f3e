"""Checkpoints that survive ``kill -9``: one folder a configuration, written aside and renamed, one writer at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch
from filelock import FileLock, Timeout

LOG = logging.getLogger(__name__)

FORMAT_VERSION = 2
FINISHED = "finished"
RUNS = "runs"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or is in use by another process."""


def fingerprint(content: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for JSON-able ``content``: what a checkpoint's result depends on."""
    text = json.dumps({"format": FORMAT_VERSION, **content}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoint:
    """The saved states of one stage under one configuration, in ``root/.checkpoints/stage/fingerprint/``.

    Used as a context manager it holds a lock, so that an orphan of a killed ``dvc`` and its successor never both write.
    """

    def __init__(self, stage: str, content: Mapping[str, Any], *, root: Path) -> None:
        self.folder = root / ".checkpoints" / stage / fingerprint(content)
        self._lock = FileLock(self.folder.with_suffix(".lock"))

    def __enter__(self) -> Checkpoint:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CheckpointError(
                f"{self.folder} is in use: another process runs this stage with these parameters (a stage outlives a dvc that was "
                "killed). Wait for it to end or stop it, then run the command again."
            ) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, strings, containers of them) as ``name``; a reader sees the old or the new one, never half."""
        save_atomically(self.folder / f"{name}.pt", lambda file: torch.save(dict(state), file))

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the state saved as ``name``, tensors on the CPU, or None. Raise ``CheckpointError`` where the file is damaged."""
        path = self.folder / f"{name}.pt"
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save writes
                if (part := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(part)
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # its text is not shown: of a damaged file torch thinks that it might be loaded unsafely
            why = f"{type(error).__name__}: damaged, or not a checkpoint"
            raise CheckpointError(f"{path} cannot be read ({why}). Delete it to start this stage from the beginning.") from error
        return state

    def discard(self, name: str) -> None:
        """Delete the state saved as ``name``, if there is one."""
        (self.folder / f"{name}.pt").unlink(missing_ok=True)

    def begin_run(self) -> float:
        """Note that a run of the stage begins; return the seconds of the runs before it, each up to the last state that it saved.

        A run that was killed could not say how long it took, but its states tell when they were written. A run that begins afresh says
        in the log which others are unfinished: it may be a number of threads alone that keeps it from going on.
        """
        now = time.time()
        if not (self.folder / f"{RUNS}.pt").exists() and (others := self._unfinished()):
            LOG.info(
                "%s: begins afresh. Unfinished with other parameters, data, code, torch, device or runtime.num_threads: %d, the last in "
                "%s; with those that it had it goes on.",
                self.folder.parent.name,
                len(others),
                others[-1],
            )
        runs = self.load(RUNS) or {"earlier_s": 0.0, "begun": now}
        saved = [path.stat().st_mtime for path in _states(self.folder)]
        earlier_s = float(runs["earlier_s"]) + max(0.0, max(saved, default=0.0) - runs["begun"])
        self.save(RUNS, {"earlier_s": earlier_s, "begun": now})
        return earlier_s

    def _unfinished(self) -> list[Path]:
        """Return the folders of this stage's other configurations that have states and are not finished, the last written last."""
        written: dict[Path, float] = {}
        for folder in self.folder.parent.iterdir():
            if folder == self.folder or not folder.is_dir() or (folder / FINISHED).exists():
                continue
            with contextlib.suppress(OSError):  # another process deletes what it has no more use for
                if states := _states(folder):
                    written[folder] = max(path.stat().st_mtime for path in states)
        return sorted(written, key=written.__getitem__)

    def finish(self) -> None:
        """Note that the stage's outputs are written. The states stay for :func:`clear_finished`: a kill may come before DVC has them."""
        (self.folder / FINISHED).touch()


def _states(folder: Path) -> list[Path]:
    """Return the files of a configuration's states, without the note of its runs."""
    return [path for path in folder.glob("*.pt") if path.stem != RUNS]


def clear_finished(root: Path) -> None:
    """Delete the states of every stage below ``root`` that is finished, once a later stage has seen its outputs."""
    for mark in (root / ".checkpoints").glob(f"*/*/{FINISHED}"):
        shutil.rmtree(mark.parent, ignore_errors=True)


def save_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, force it to the disk and rename it.

    ``write`` gets the open file: given a name, ``torch.save`` would store it, and equal weights would be unequal files.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
