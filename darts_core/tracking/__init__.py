"""MLflow: one comparable row an experiment, and a null tracker with the same methods."""

from darts_core.tracking.stage import run
from darts_core.tracking.store import TrackingError
from darts_core.tracking.tracker import NullTracker, Tracker
from darts_core.tracking.ui import Ui, ui_command

__all__ = ["NullTracker", "Tracker", "TrackingError", "Ui", "run", "ui_command"]
