"""Around every stage: parameters, device, the tracker's row, seconds and memory, and errors as a person wants to read them."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from darts_core import tracking
from darts_core.components import load_params
from darts_core.config import Config, TextConfig
from darts_core.data import WorkerKilledError
from darts_core.engine.loop import TrainingError
from darts_core.hardware.facts import check_arch_supported, describe
from darts_core.hardware.provenance import provenance
from darts_core.pipeline.places import REPORTS, write_json
from darts_core.pipeline.remedy import remedy
from darts_core.runtime.checkpoint import CheckpointError
from darts_core.runtime.device import backend_name
from darts_core.runtime.memory import PeakMemory
from darts_core.runtime.session import Session, start
from darts_core.tracking.row import source_hash

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Stage:
    """A running stage. ``resources`` may be filled with further seconds and MiB before the stage ends.

    resources.json says ``<stage>_s``, the wall time of this run and, where it goes on from a checkpoint, of those before it
    (``earlier_s``), and ``<stage>_rss_mib``, on a GPU ``<stage>_vram_mib``, the peak of this process and those beside it (``beside``).
    """

    name: str
    cfg: Config
    session: Session
    tracker: tracking.Tracker | tracking.NullTracker
    reports: Path
    resources: dict[str, float] = field(default_factory=dict)
    earlier_s: float = 0.0
    beside: Mapping[str, float] = field(default_factory=dict)  # "rss_mib" and the like, at most, of other processes together

    def metrics(self, values: Mapping[str, float]) -> None:
        """Write ``metrics.json``: deterministic results alone, since later stages may depend on it."""
        write_json(self.reports / "metrics.json", values)

    def epochs(self, costs: list[dict[str, float]], *, prefix: str, total: str, step: str = "epoch") -> None:
        """Note of a training's epochs, also of those before an interruption: their seconds (``total``), ``<prefix>_epoch_s``, the median,
        and ``<prefix>_data_percent``, the share of ``total`` that was spent on data. ``step`` is what a row is of, if not an epoch.
        """
        seconds = sorted(row[f"{step}_s"] for row in costs)
        if seconds:
            waited = sum(row.get("data_percent", 0.0) * row[f"{step}_s"] for row in costs)
            self.resources |= {
                total: sum(seconds),
                f"{prefix}_{step}_s": seconds[len(seconds) // 2],
                f"{prefix}_data_percent": waited / sum(seconds),
            }

    def provenance(self, *, data_hash: str, computed: Mapping[str, str] | None = None) -> None:
        """Write ``provenance.json``: device, versions, flags, seeds, hashes, processes, and what else says how it was ``computed``."""
        config_hash = hashlib.sha256(self.cfg.model_dump_json(exclude={"tracking"}).encode()).hexdigest()
        seeds = {"seed": self.cfg.seed}
        if not isinstance(self.cfg, TextConfig):  # a text is divided in its order
            seeds["data.split_seed"] = self.cfg.data.split_seed
        record = provenance(self.session.device, seeds=seeds, data_hash=data_hash, config_hash=config_hash)
        record["computed"] = {"processes": self.session.processes, **(computed or {})}
        write_json(self.reports / "provenance.json", record)


def circumstances(session: Session) -> dict[str, str | int | bool]:
    """Return what a checkpoint's numbers depend on beside parameters and data: code, torch, kind of device, threads."""
    return {
        "source": source_hash(),
        "torch": torch.__version__,
        "device": session.device.type,
        "num_threads": session.num_threads,
        "deterministic": session.deterministic,
    }


def say_on_stderr() -> None:
    """Let the log's lines, without a level or a name, be read in the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Run the body as ``name``; an error that the user can mend ends the process with its message and no traceback."""
    say_on_stderr()
    for chatty in ("alembic", "mlflow", "matplotlib", "fontTools", "git", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        yield
    except (ValueError, TrainingError, CheckpointError, WorkerKilledError, tracking.TrackingError) as error:
        log.debug("", exc_info=True)
        sys.stderr.write(f"\n{name} stopped: {remedy(name, error) or error}\n")
        raise SystemExit(1) from None
    except (MemoryError, OSError, RuntimeError) as error:
        if (advice := remedy(name, error)) is None:
            raise
        log.debug("", exc_info=True)
        sys.stderr.write(f"\n{name} stopped: {advice}\n")
        raise SystemExit(1) from None


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    """Run the body as the stage ``name``, :func:`explained`, with parameters, device and the tracker's row."""
    with explained(name):
        cfg = load_params()
        session = start(cfg.runtime, seed=cfg.seed)
        check_arch_supported(session.device)
        with _tracked(name, cfg, session) as running:
            yield running


@contextmanager
def _tracked(name: str, cfg: Config, session: Session) -> Iterator[Stage]:
    hardware = {
        "hw.device": describe(session.device),
        "hw.backend": backend_name(session.device),
        "torch.version": torch.__version__,
    }
    reports = REPORTS[name]
    started = time.perf_counter()
    with tracking.run(name, cfg, hardware=hardware) as tracker, PeakMemory(session.device) as memory:
        shutil.rmtree(reports, ignore_errors=True)  # as DVC does: a table of an earlier run must not pass for one of this
        reports.mkdir(parents=True, exist_ok=True)
        running = Stage(name=name, cfg=cfg, session=session, tracker=tracker, reports=reports)
        yield running
        seconds = {f"{name}_s": running.earlier_s + time.perf_counter() - started}
        beside = {f"{name}_{kind}": peak for kind, peak in running.beside.items()}
        peaks = {key: peak + beside.get(key, 0.0) for key, peak in memory.as_dict(name).items()}
        write_json(reports / "resources.json", {**seconds, **peaks, **running.resources})
        tracker.finish(reports)
