"""Around a stage: its row is found and opened, and closed with the truth about how the stage ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from darts_core.config import Config
from darts_core.tracking import reports
from darts_core.tracking.outbox import Outbox, open_outbox
from darts_core.tracking.process import this_process
from darts_core.tracking.row import Row, children_of, close_dead, create_child, open_row
from darts_core.tracking.store import Store, TrackingError, connect, undisturbed
from darts_core.tracking.tracker import NullTracker, Tracker


@contextmanager
def run(
    stage: str, cfg: Config, *, enabled: bool = True, hardware: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Tracker | NullTracker]:
    """Track one execution of ``stage``, a key of ``reports.REPORTS``; run it where dvc.yaml lies.

    ``enabled`` is false on every rank but the first; ``hardware`` holds tags such as ``hw.device`` and ``torch.version``.
    The last stage, which DVC never skips, first adds what skipped stages have left on disk. Raise ``TrackingError``
    before the stage does anything if the store does not answer; later failures of the store are logged, not raised.
    """
    if stage not in reports.REPORTS:
        raise ValueError(f"stage: one of {', '.join(reports.REPORTS)} expected. Got '{stage}'.")
    if not (enabled and cfg.tracking.enabled):
        yield NullTracker()
        return
    store = connect(cfg)
    tracker = _open(store, cfg, stage, hardware)
    try:
        yield tracker
    except BaseException as error:
        tracker.end(error)
        raise
    tracker.end()


def _open(store: Store, cfg: Config, stage: str, hardware: Mapping[str, str]) -> Tracker:
    from mlflow.exceptions import MlflowException

    try:
        with undisturbed():
            outbox = open_outbox(store)
            close_dead(store)
            row = open_row(store, cfg, stage=stage, hardware=hardware)
            if stage == reports.LAST_STAGE:
                _back_fill(store, cfg, outbox, row)
    except MlflowException as error:
        raise TrackingError(f"MLflow cannot open the row of stage {stage}: {error} To run without it: tracking.enabled: false.") from None
    return _tracker(outbox, row, stage, cfg)


def _back_fill(store: Store, cfg: Config, outbox: Outbox, row: Row) -> None:
    """Add the stages that DVC skipped, from their reports, each with a child that is marked as cached."""
    done = {child.data.tags.get("stage") for child in children_of(store, row.run_id) if child.info.status == "FINISHED"}
    for stage, (folder, _) in reports.REPORTS.items():
        if stage in done or stage == reports.LAST_STAGE or not folder.exists():
            continue
        child = create_child(store, row.run_id, {"stage": stage, "dvc.cached": "true", "darts.process": this_process()})
        cached = _tracker(outbox, Row(row.run_id, child, row.logged), stage, cfg)
        cached.finish(folder)
        cached.end_stage()


def _tracker(outbox: Outbox, row: Row, stage: str, cfg: Config) -> Tracker:
    return Tracker(outbox, row, stage=stage, all_edges=cfg.tracking.alphas == "full", log_model=cfg.tracking.log_model)
