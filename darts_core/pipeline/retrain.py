"""retrain: the searched network and everything that it is compared with, trained from scratch by one recipe."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from darts_core.components import image_space
from darts_core.config import Config
from darts_core.data import Batches, Prepared, open_prepared, resolve_policy
from darts_core.engine.lineup import SEARCHED, Entrant, Sizes, lineup, save_network
from darts_core.engine.loop import Log
from darts_core.engine.retrain import Row, Trained, retrain
from darts_core.genotype import Genotype
from darts_core.metrics import count_macs
from darts_core.ops.drop_path import DropPath
from darts_core.pipeline.apart import report, run_apart
from darts_core.pipeline.places import GENOTYPE, NETWORKS, PREPARED
from darts_core.pipeline.stage import Stage, circumstances
from darts_core.report.retrain import draw_retraining, save_tables
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session, start

LOG = logging.getLogger(__name__)


def run(stage: Stage) -> None:
    """Train every network of the line-up and save both its last and its best epoch."""
    cfg, prepared = stage.cfg, open_prepared(PREPARED)
    entrants = _entrants(cfg)
    sizes = _sizes(cfg, prepared)
    names = _largest_first(entrants, sizes, cfg)  # builds each once, so that one that cannot be built is known before any is trained
    is_apart = stage.session.processes > 1 and len(entrants) > 1
    with _checkpoint(cfg, stage.session, prepared, entrants) as checkpoint:
        stage.earlier_s = checkpoint.begin_run()
        if is_apart:
            # Each leaves its last epoch in the checkpoint, where the loop below finds it.
            run_apart(_train_apart, cfg, names, processes=stage.session.processes, log=_logger(stage))
        trained = {
            one.name: train_entrant(
                one, sizes, prepared, cfg=cfg, session=stage.session, log=partial(_logger(stage), one.name), checkpoint=checkpoint
            )
            for one in entrants
        }
        shutil.rmtree(NETWORKS, ignore_errors=True)  # a network of an earlier line-up must not be evaluated beside these
        for one in entrants:
            save_network(NETWORKS / one.name, one, sizes, trained[one.name])
        if is_apart:
            stage.beside = peaks_together([one.costs for one in trained.values()], processes=stage.session.processes)
        _report(trained, stage)
        stage.provenance(data_hash=prepared.spec.content_hash)
        checkpoint.finish()


def train_entrant(
    entrant: Entrant, sizes: Sizes, prepared: Prepared, *, cfg: Config, session: Session, log: Log, checkpoint: Checkpoint
) -> Trained:
    """Train one network. All see the same images in the same order, augmented alike."""
    drop_path = DropPath(stream(cfg.seed, "retrain drop path"))
    with seeded(cfg.seed, f"retrain weights {entrant.name}"):
        network = entrant.build(image_space(cfg), sizes, drop_path=drop_path)
    train, valid = _batches(cfg, prepared, session)
    return retrain(
        network,
        name=entrant.name,
        train=train,
        valid=valid,
        cfg=cfg.retrain,
        drop_path=drop_path,
        device=session.device,
        memory_format=session.memory_format,
        progress=session.progress,
        log=log,
        checkpoint=checkpoint,
    )


def _train_apart(cfg: Config, name: str) -> None:
    """Train one network in this process, which has been started for it; the starting one holds the checkpoint's lock."""
    session, prepared, entrants = start(cfg.runtime, seed=cfg.seed), open_prepared(PREPARED), _entrants(cfg)
    if session.progress in ("auto", "bar"):
        session = replace(session, progress="lines")  # bars of several processes would overwrite one another
    entrant = next(one for one in entrants if one.name == name)
    checkpoint = _checkpoint(cfg, session, prepared, entrants)
    train_entrant(entrant, _sizes(cfg, prepared), prepared, cfg=cfg, session=session, log=partial(report, name), checkpoint=checkpoint)


def _largest_first(entrants: list[Entrant], sizes: Sizes, cfg: Config) -> list[str]:
    """Order the names so that the longest training starts first, by multiply-adds, and no process waits for it at the end.

    Parameters are a worse guide: half of a MobileNetV2's are in its last, smallest maps, and a cell network has few.
    """
    space, shape = image_space(cfg), (sizes.channels, sizes.height, sizes.width)
    return [one.name for one in sorted(entrants, key=lambda one: -count_macs(one.build(space, sizes), input_shape=shape))]


def _logger(stage: Stage) -> Callable[[str, Mapping[str, float], int], None]:
    def log(name: str, metrics: Mapping[str, float], epoch: int) -> None:
        stage.tracker.log(metrics, epoch, network="" if name == SEARCHED else name)

    return log


def _entrants(cfg: Config) -> list[Entrant]:
    space, genotype = image_space(cfg), Genotype.load(GENOTYPE)
    space.check(genotype)
    return lineup(genotype, space=space, cfg=cfg.retrain, seed=cfg.seed)


def _batches(cfg: Config, prepared: Prepared, session: Session) -> tuple[Batches, Batches | None]:
    policy = resolve_policy(prepared.spec, cfg.augment, cutout=cfg.retrain.cutout)
    place = {"device": session.device, "num_workers": session.num_workers}
    generator = stream(cfg.seed, "retrain batches")
    train = Batches(prepared.train(), cfg.retrain.batch_size, shuffle=True, policy=policy, generator=generator, **place)  # type: ignore[arg-type]
    if not prepared.has_valid:
        LOG.info("retrain: no validation images (data.valid_fraction is 0), so the best epoch is the last one.")
        return train, None
    return train, Batches(prepared.valid(), cfg.retrain.batch_size, shuffle=False, **place)  # type: ignore[arg-type]


def _sizes(cfg: Config, prepared: Prepared) -> Sizes:
    spec = prepared.spec
    return Sizes.of(cfg.retrain, shape=(spec.channels, spec.height, spec.width), num_classes=spec.num_classes)


def _checkpoint(cfg: Config, session: Session, prepared: Prepared, entrants: list[Entrant]) -> Checkpoint:
    depends = cfg.model_dump(mode="json", include={"seed", "data", "augment", "space", "retrain"})
    genotypes = {one.name: one.genotype.to_dict() for one in entrants if one.genotype is not None}
    depends |= {"content": prepared.spec.content_hash, "genotypes": genotypes, **circumstances(session)}
    return Checkpoint("retrain", depends, root=session.root)


def _report(trained: dict[str, Trained], stage: Stage) -> None:
    own = trained[SEARCHED]
    stage.metrics(
        {
            **{
                key: value
                for key, value in (("retrain_valid_acc", own.valid_acc("best")), ("retrain_valid_acc_last", own.valid_acc("last")))
                if value is not None
            },
            "retrain_best_epoch": own.best_epoch,
            "retrain_train_acc": own.history[-1]["train_acc"],
            "retrain_train_loss": own.history[-1]["train_loss"],
        }
    )
    stage.epochs(own.costs, prefix=f"retrain_{SEARCHED}", total=f"retrain_{SEARCHED}_s")
    stage.resources |= {f"retrain_{SEARCHED}_{kind}": peak for kind, peak in _peaks(own.costs).items()}
    stage.resources |= {f"retrain_{name}_s": sum(row["epoch_s"] for row in one.costs) for name, one in trained.items() if name != SEARCHED}
    save_tables(trained, stage.reports)
    draw_retraining(trained, stage.reports)


def peaks_together(costs: Iterable[list[Row]], *, processes: int) -> dict[str, float]:
    """Return the most memory that so many trainings at once can have held together: the sum of the largest peaks, by kind.

    It is an upper bound: their peaks need not have met, and pages that processes share count in each.
    """
    each = [_peaks(rows) for rows in costs]
    kinds = dict.fromkeys(kind for peaks in each for kind in peaks)
    return {kind: sum(sorted((peaks.get(kind, 0.0) for peaks in each), reverse=True)[:processes]) for kind in kinds}


def _peaks(costs: list[Row]) -> dict[str, float]:
    """The largest value of each column of MiB: ``rss_mib`` and, on a GPU, ``vram_mib`` and ``vram_reserved_mib``."""
    kinds = dict.fromkeys(key for row in costs for key in row if key.endswith("_mib"))
    return {kind: max(row[kind] for row in costs if kind in row) for kind in kinds}
