"""retrain: the searched network and everything that it is compared with, trained from scratch by one recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeAlias

from darts_core.components import build_space
from darts_core.config import Config, TextConfig
from darts_core.engine.lineup import SEARCHED, Entrant, lineup, save_network
from darts_core.engine.training import Row, Trained
from darts_core.genotype import Genotype
from darts_core.pipeline.apart import report, run_apart
from darts_core.pipeline.image_training import ImageTraining
from darts_core.pipeline.language_training import LanguageTraining
from darts_core.pipeline.named_files import hashes, named_files
from darts_core.pipeline.places import GENOTYPE, NETWORKS
from darts_core.pipeline.stage import Stage, circumstances, say_on_stderr
from darts_core.report.retrain import draw_retraining, save_tables
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.session import Session, start

Training: TypeAlias = ImageTraining | LanguageTraining


def run(stage: Stage) -> None:
    """Train every network of the line-up and save both its last and its best epoch."""
    cfg, session = stage.cfg, stage.session
    training, entrants = _training(cfg, session), _entrants(cfg)
    if isinstance(training, ImageTraining):
        training.remark()
    names = _longest_first(training, entrants)  # builds each once, so that one that cannot be built is known before any is trained
    is_apart = session.processes > 1 and len(entrants) > 1
    with _checkpoint(training, entrants) as checkpoint:
        stage.earlier_s = checkpoint.begin_run()
        if is_apart:
            # Each leaves its last epoch in the checkpoint, where the loop below finds it.
            run_apart(_train_apart, cfg, names, processes=session.processes, log=_logger(stage))
        trained = {
            one.name: training.train(one, progress=session.progress, log=partial(_logger(stage), one.name), checkpoint=checkpoint)
            for one in entrants
        }
        shutil.rmtree(NETWORKS, ignore_errors=True)  # a network of an earlier line-up must not be evaluated beside these
        for one in entrants:
            save_network(NETWORKS / one.name, one, training.sizes, trained[one.name])
        if is_apart:
            stage.beside = peaks_together([one.costs for one in trained.values()], processes=session.processes)
        stage.metrics(training.metrics(trained[SEARCHED]))
        _report(trained, stage)
        stage.provenance(data_hash=training.content_hash, computed=_computed(training))
        checkpoint.finish()


def _training(cfg: Config, session: Session) -> Training:
    return LanguageTraining(cfg, session) if isinstance(cfg, TextConfig) else ImageTraining(cfg, session)


def _computed(training: Training) -> dict[str, str]:
    """Return how each network was computed, where there is a choice."""
    return {f"backend_{name}": used for name, used in training.backends.items()} if isinstance(training, ImageTraining) else {}


def _train_apart(cfg: Config, name: str) -> None:
    """Train one network in this process, which has been started for it; the starting one holds the checkpoint's lock."""
    say_on_stderr()
    session, entrants = start(cfg.runtime, seed=cfg.seed), _entrants(cfg)
    training = _training(cfg, session)
    entrant = next(one for one in entrants if one.name == name)
    # Bars of several processes would overwrite one another.
    progress = "lines" if session.progress in ("auto", "bar") else session.progress
    training.train(entrant, progress=progress, log=partial(report, name), checkpoint=_checkpoint(training, entrants))


def _longest_first(training: Training, entrants: list[Entrant]) -> list[str]:
    """Order the names so that the longest training starts first, and no process waits for it at the end."""
    return [one.name for one in sorted(entrants, key=lambda one: -training.costs(one))]


def _logger(stage: Stage) -> Callable[[str, Mapping[str, float], int], None]:
    def log(name: str, metrics: Mapping[str, float], epoch: int) -> None:
        stage.tracker.log(metrics, epoch, network="" if name == SEARCHED else name)

    return log


def _entrants(cfg: Config) -> list[Entrant]:
    space, genotype = build_space(cfg), Genotype.load(GENOTYPE)
    space.check(genotype)
    return lineup(genotype, space=space, cfg=cfg.retrain, seed=cfg.seed)


def _checkpoint(training: Training, entrants: list[Entrant]) -> Checkpoint:
    depends = training.cfg.model_dump(mode="json", include=set(training.sections))
    depends["retrain"].pop("backend", None)  # it changes numbers by rounding alone: a training goes on by another one, and notes both
    genotypes = {one.name: one.genotype.to_dict() for one in entrants if one.genotype is not None}
    depends |= {"content": training.content_hash, "genotypes": genotypes, **circumstances(training.session)}
    depends["files"] = hashes(named_files(training.cfg)["space"])
    return Checkpoint("retrain", depends, root=training.session.root)


def _report(trained: dict[str, Trained], stage: Stage) -> None:
    own = trained[SEARCHED]
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
