"""prepare_data: raw images or text -> arrays or a manifest, splits, statistics, a content hash."""

from __future__ import annotations

import logging

from tqdm import tqdm

from darts_core.config import TextConfig
from darts_core.data import open_prepared, open_text, prepare
from darts_core.pipeline.idle import without_effect
from darts_core.pipeline.places import PREPARED
from darts_core.pipeline.stage import Stage

log = logging.getLogger(__name__)


def run(stage: Stage) -> None:
    """Prepare the data set of ``data.*``; as the first stage, warn of all settings without effect."""
    for line in without_effect(stage.cfg):
        log.warning("params.yaml: %s", line)
    quiet = None if stage.session.progress in ("auto", "bar") else True
    with tqdm(desc="prepare_data", unit="image", disable=quiet, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        metrics = prepare(stage.cfg.data, PREPARED, num_workers=stage.session.num_workers, progress=show)
    stage.metrics(metrics)
    opened = open_text if isinstance(stage.cfg, TextConfig) else open_prepared
    stage.provenance(data_hash=opened(PREPARED).spec.content_hash)
