"""What a stage tells about itself: to MLflow, or to nobody."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from darts_core.tracking import reports
from darts_core.tracking.outbox import Outbox
from darts_core.tracking.row import Row
from darts_core.tracking.store import undisturbed

if TYPE_CHECKING:
    import torch

MAX_NOTE = 8000  # characters of a tag
MAX_ERROR = 500
LOG = logging.getLogger(__name__)


class Tracker:
    """Writes to one row. Nothing here raises because of MLflow, and no random number of the training is used up."""

    def __init__(self, outbox: Outbox, row: Row, *, stage: str, all_edges: bool, log_model: bool) -> None:
        self._outbox = outbox
        self._row = row
        self._stage = stage
        self._all_edges = all_edges
        self._log_model = log_model
        self._images: set[tuple[str, int]] = set()

    def log(self, metrics: Mapping[str, float], step: int, *, network: str = "") -> None:
        """Log the values of epoch ``step``: ``train_loss`` -> ``search/train_loss``, ``alpha_normal/<op>`` as it is.

        A value that the row has is not written again, so a resumed epoch leaves one point. ``network`` names a baseline.
        """
        points = [(reports.metric_name(name, stage=self._stage, network=network), value, step) for name, value in metrics.items()]
        self._put_points(points if self._all_edges else (point for point in points if "/edge " not in point[0]))

    def image(self, key: str, path: Path, *, step: int) -> None:
        """Show the image file ``path`` under ``key``, with a slider over the steps, on the stage's own run."""
        if (key, step) not in self._images:
            self._images.add((key, step))
            self._put("image", self._row.child_id, path=str(path.resolve()), key=key, step=step)

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Store a file, or all files of a folder, under ``folder`` of the row's artifacts."""
        self._put("file", self._row.run_id, path=str(path.resolve()), to=folder)

    def note(self, markdown: str) -> None:
        """Show ``markdown`` on the row's page."""
        self._put("tags", self._row.run_id, tags={"mlflow.note.content": markdown[:MAX_NOTE]})

    def model(self, network: torch.nn.Module, example: torch.Tensor) -> None:
        """Store ``network`` (on the CPU, in evaluation mode) as an MLflow model, if ``tracking.log_model`` asks for it.

        ``example`` is an input batch. The random numbers of torch are left as they were.
        """
        if not self._log_model:
            return
        import mlflow.pytorch
        import torch

        with tempfile.TemporaryDirectory() as folder, undisturbed(), torch.random.fork_rng(devices=[]):
            path = Path(folder) / "model"
            requirements = [f"torch=={torch.__version__.partition('+')[0]}"]
            try:
                mlflow.pytorch.save_model(network, path, input_example=example.numpy(), pip_requirements=requirements)
            except Exception as error:  # an export that fails, in whatever way, must not throw away the training before it
                LOG.warning("tracking.log_model: the network could not be exported: %s", error)
                return
            self.artifact(path, folder="model")

    def finish(self, report_dir: Path) -> None:
        """Add to the row what the stage left in ``report_dir``: numbers, curves that were not logged as they came, and every file.

        Images called ``<key>_epoch_<n>.png`` get the slider of :meth:`image`, ``note.md`` becomes the row's note.
        """
        numbers = reports.summary(report_dir, stage=self._stage)
        self._put_points((name, value, 0) for name, value in numbers.items())
        self._put_points(reports.curves(report_dir, stage=self._stage, all_edges=self._all_edges))
        for key, path, step in reports.step_images(report_dir):
            self.image(key, path, step=step)
        if (note := report_dir / "note.md").exists():
            self.note(note.read_text(encoding="utf-8"))
        self.artifact(report_dir, folder=self._stage)
        for path in reports.REPORTS[self._stage][1]:
            if path.exists():
                self.artifact(path)
        if self._stage == "prepare_data" and (data := reports.dataset()):
            self._put("dataset", self._row.run_id, **data)

    def end_stage(self, error: BaseException | None = None) -> None:
        """Close the run of the stage: finished, or failed (killed, for Ctrl-C) with the error as a tag."""
        self._end(self._row.child_id, error)

    def end(self, error: BaseException | None = None) -> None:
        """Close the run of the stage and the row, and send what was kept.

        The row is finished when the last stage is. Before that it is scheduled: it waits for a stage, perhaps in vain, and no process
        has to be there for it.
        """
        self.end_stage(error)
        self._end(self._row.run_id, error, well="FINISHED" if self._stage == reports.LAST_STAGE else "SCHEDULED")
        self._outbox.close()

    def _end(self, run_id: str, error: BaseException | None, *, well: str = "FINISHED") -> None:
        if error is not None:
            self._put("tags", run_id, tags={"darts.error": f"{type(error).__name__}: {error}"[:MAX_ERROR]})
        status = well if error is None else "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self._put("end", run_id, status=status)

    def _put_points(self, points: Iterable[reports.Point]) -> None:
        values = []
        for name, value, step in points:
            if (name, step) not in self._row.logged:
                self._row.logged.add((name, step))
                values.append((name, float(value), step))
        if values:
            self._put("metrics", self._row.run_id, values=values)

    def _put(self, do: str, run_id: str, **content: object) -> None:
        self._outbox.put({"do": do, "run": run_id, "time": time.time_ns() // 1_000_000, **content})


class NullTracker:
    """Stands in where tracking is off, and on every rank but the first."""

    def log(self, metrics: Mapping[str, float], step: int, *, network: str = "") -> None:
        """Do nothing."""

    def image(self, key: str, path: Path, *, step: int) -> None:
        """Do nothing."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Do nothing."""

    def note(self, markdown: str) -> None:
        """Do nothing."""

    def model(self, network: torch.nn.Module, example: torch.Tensor) -> None:
        """Do nothing."""

    def finish(self, report_dir: Path) -> None:
        """Do nothing."""
