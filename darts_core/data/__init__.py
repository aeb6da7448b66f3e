"""Data sets, their preparation, and the batches that the other rooms train on."""

from darts_core.data.augment import resolve_policy
from darts_core.data.columns import check_columns, columns
from darts_core.data.dataset import DATASETS, Collected, Dataset, Request
from darts_core.data.images import Images
from darts_core.data.loaders import Batches, Cycle
from darts_core.data.prepare import prepare
from darts_core.data.prepared import Prepared, open_prepared
from darts_core.data.prepared_text import PreparedText, open_text
from darts_core.data.spec import AugmentPolicy, DataSpec
from darts_core.data.text import TextSource
from darts_core.data.text_spec import TextSpec
from darts_core.data.workers import WorkerKilledError
from darts_core.registry import discover

__all__ = [
    "DATASETS",
    "AugmentPolicy",
    "Batches",
    "Collected",
    "Cycle",
    "DataSpec",
    "Dataset",
    "Images",
    "Prepared",
    "PreparedText",
    "Request",
    "TextSource",
    "TextSpec",
    "WorkerKilledError",
    "check_columns",
    "columns",
    "open_prepared",
    "open_text",
    "prepare",
    "resolve_policy",
]

discover(__name__)
