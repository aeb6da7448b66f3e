"""The architectures that a search is asked about as it goes on, and what they are worth by themselves: by a table, or by short training."""

from __future__ import annotations

import logging
from itertools import islice

from darts_core.components import image_space, rank_table
from darts_core.config import Config
from darts_core.data import Batches, Prepared
from darts_core.engine.loop import DivergedError
from darts_core.engine.rank_disorder import RankProbe, draw_distinct
from darts_core.genotype import Genotype
from darts_core.pipeline.short_training import ShortTraining
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import stream
from darts_core.runtime.session import Session

BATCHES = 8
"""Of validation images of all classes, that the supernet is asked about."""

PURPOSE = "rank disorder"

LOG = logging.getLogger(__name__)


def rank_probe(cfg: Config, prepared: Prepared, session: Session, *, checkpoint: Checkpoint | None = None) -> RankProbe | None:
    """Return the probe that ``search.rank_samples`` asks for, or None.

    Accuracies are those on validation images, the table's or the search's own: nothing is learnt of the test images here. Training of the
    architectures goes on from ``checkpoint``.
    """
    if not cfg.search.rank_samples:
        return None
    space, table = image_space(cfg), rank_table(cfg)
    genotypes = draw_distinct(space, cfg.search.rank_samples, generator=stream(cfg.seed, PURPOSE))
    names = [space.spell(genotype) if space.spell is not None else f"random_{number}" for number, genotype in enumerate(genotypes)]
    splits = prepared.search_splits(cfg.search.train_portion, seed=cfg.seed, fraction=cfg.search.data_fraction)
    if table is not None:
        accuracies = [table.look_up(name).valid_acc for name in names]
    else:
        accuracies = _trained(genotypes, cfg, prepared, session, checkpoint)
    mixed = Batches(splits[1], cfg.search.batch_size, shuffle=True, generator=stream(cfg.seed, "rank disorder batches"))
    return RankProbe(
        genotypes=genotypes, names=names, own_accs=accuracies, batches=list(islice(mixed, BATCHES)), every=cfg.search.rank_every
    )


def _trained(genotypes: list[Genotype], cfg: Config, prepared: Prepared, session: Session, checkpoint: Checkpoint | None) -> list[float]:
    """Train each architecture by the search's recipe and sizes for ``search.rank_truth`` epochs; return their validation accuracies.

    What diverges has 0.
    """
    assert isinstance(cfg.search.rank_truth, int)
    train = ShortTraining(
        cfg,
        prepared,
        session,
        epochs=cfg.search.rank_truth,
        name=lambda number: f"rank_{number}",
        purpose=PURPOSE,
        checkpoint=checkpoint,
    )
    accuracies = []
    for number, genotype in enumerate(genotypes):
        try:
            accuracies.append(float(train(genotype, number).value("valid_acc", "last") or 0.0))
        except DivergedError as error:
            LOG.warning("search: rank_%d for the rank disorder comes last. %s", number, error)
            accuracies.append(0.0)
            continue
        LOG.info(
            "search: rank_%d of %d for the rank disorder has %.2f %% after %d epochs.",
            number,
            len(genotypes),
            accuracies[-1],
            cfg.search.rank_truth,
        )
    return accuracies
