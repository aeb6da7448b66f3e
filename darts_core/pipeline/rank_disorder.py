"""The architectures that a search is asked about as it goes on, and what they are worth by themselves: by a table, or by short training."""

from __future__ import annotations

import logging
from itertools import islice

import torch

from darts_core.components import image_space, rank_table
from darts_core.config import Config, RetrainConfig
from darts_core.data import Batches, Images, Prepared, resolve_policy
from darts_core.engine.rank_disorder import RankProbe, draw_distinct
from darts_core.engine.retrain import retrain
from darts_core.genotype import Genotype
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session

BATCHES = 8
"""Of validation images of all classes, that the supernet is asked about."""

LOG = logging.getLogger(__name__)


def rank_probe(cfg: Config, prepared: Prepared, session: Session, *, checkpoint: Checkpoint | None = None) -> RankProbe | None:
    """Return the probe that ``search.rank_samples`` asks for, or None.

    Accuracies are those on validation images, the table's or the search's own: nothing is learnt of the test images here. Training of the
    architectures goes on from ``checkpoint``.
    """
    if not cfg.search.rank_samples:
        return None
    space, table = image_space(cfg), rank_table(cfg)
    genotypes = draw_distinct(space, cfg.search.rank_samples, seed=cfg.seed)
    names = [space.spell(genotype) if space.spell is not None else f"random_{number}" for number, genotype in enumerate(genotypes)]
    splits = prepared.search_splits(cfg.search.train_portion, seed=cfg.seed, fraction=cfg.search.data_fraction)
    if table is not None:
        accuracies = [table.look_up(name).valid_acc for name in names]
    else:
        accuracies = _trained(genotypes, cfg, splits, session, checkpoint)
    mixed = Batches(splits[1], cfg.search.batch_size, shuffle=True, generator=stream(cfg.seed, "rank disorder batches"))
    return RankProbe(
        genotypes=genotypes, names=names, own_accs=accuracies, batches=list(islice(mixed, BATCHES)), every=cfg.search.rank_every
    )


def _trained(
    genotypes: list[Genotype], cfg: Config, splits: tuple[Images, Images], session: Session, checkpoint: Checkpoint | None
) -> list[float]:
    """Train each architecture by the search's recipe and sizes for ``search.rank_truth`` epochs; return their validation accuracies."""
    own, space = cfg.search, image_space(cfg)
    alike = {key: getattr(own, key) for key in ("batch_size", "lr", "lr_min", "momentum", "weight_decay", "grad_clip", "cutout")}
    recipe = RetrainConfig.model_validate(
        {"epochs": own.rank_truth, "warmup_epochs": 0, "auxiliary": False, "drop_path_prob": 0.0, **alike}
    )
    place = {"device": session.device, "num_workers": session.num_workers}
    spec = splits[0].spec
    accuracies = []
    for number, genotype in enumerate(genotypes):
        name = f"rank_{number}"
        with seeded(cfg.seed, f"rank disorder weights {number}"):
            network = space.network(
                genotype,
                in_channels=spec.channels,
                num_classes=spec.num_classes,
                init_channels=space.init_channels,
                layers=space.layers,
                stem=space.stem,
            )
        policy = resolve_policy(spec, cfg.augment, cutout=own.cutout)
        generator = stream(cfg.seed, "rank disorder training batches")  # the same images in the same order for all
        trained = retrain(
            network,
            name=name,
            train=Batches(splits[0], own.batch_size, shuffle=True, policy=policy, generator=generator, **place),  # type: ignore[arg-type]
            valid=Batches(splits[1], own.batch_size, shuffle=False, **place),  # type: ignore[arg-type]
            cfg=recipe,
            drop_path=DropPath(torch.Generator()),
            device=session.device,
            memory_format=session.memory_format,
            checkpoint=checkpoint,
        )
        accuracies.append(float(trained.value("valid_acc", "last") or 0.0))
        LOG.info("search: %s of %d for the rank disorder has %.2f %% after %d epochs.", name, len(genotypes), accuracies[-1], recipe.epochs)
    return accuracies
