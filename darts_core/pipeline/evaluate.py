"""evaluate: the one look at the test data, every network beside the searched one."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping

import torch
from torch import nn

from darts_core.components import benchmark_table, image_space
from darts_core.config import Config, TextConfig
from darts_core.data import Batches, open_prepared
from darts_core.engine.evaluate import evaluate
from darts_core.engine.lineup import SEARCHED, Saved, saved_networks
from darts_core.engine.loop import memory_advice
from darts_core.nets.backend import Used, compiled_alone, reset_backend, use_backend
from darts_core.pipeline.language_evaluation import run_evaluation
from darts_core.pipeline.places import FIGURES, NETWORKS, PREPARED
from darts_core.pipeline.stage import Stage
from darts_core.report.evaluation import draw_evaluation
from darts_core.report.table import COMPARISON_NOTE, comparison_markdown, comparison_text
from darts_core.runtime.session import Session

LOG = logging.getLogger(__name__)


def run(stage: Stage) -> None:
    """Evaluate all trained networks and print how they compare."""
    if isinstance(stage.cfg, TextConfig):
        run_evaluation(stage, stage.cfg)
        return
    cfg, session, prepared = stage.cfg, stage.session, open_prepared(PREPARED)
    space = image_space(cfg)
    saved = saved_networks(NETWORKS)
    truth = true_accuracies(cfg, saved)
    networks = {name: one.build(space, cfg.evaluate.weights) for name, one in saved.items()}
    batches = Batches(prepared.test(), cfg.evaluate.batch_size, shuffle=False, device=session.device, num_workers=session.num_workers)
    spec = prepared.spec
    number = min(cfg.evaluate.batch_size, len(prepared.test()))
    used = _use_backend(networks, cfg, session, torch.zeros(number, spec.channels, spec.height, spec.width))
    with compiled_alone(*used), memory_advice("Lower evaluate.batch_size."):
        found = evaluate(
            networks,
            batches,
            device=session.device,
            cfg=cfg.evaluate,
            class_names=spec.class_names,
            seed=cfg.seed,
            memory_format=session.memory_format,
        )
    for network in networks.values():
        reset_backend(network)
    found = dataclasses.replace(found, truth=truth)
    found.save(stage.reports)
    draw_evaluation(found, stage.reports / FIGURES)
    heading = f"Test images of {spec.name}, weights of the {cfg.evaluate.weights} epoch."
    (stage.reports / "note.md").write_text(f"{heading}\n\n{comparison_markdown(found.scores)}\n{COMPARISON_NOTE}\n", encoding="utf-8")
    stage.tracker.model(networks[SEARCHED].cpu(), torch.zeros(1, spec.channels, spec.height, spec.width))
    sys.stdout.write(f"\n{comparison_text(found.scores)}{COMPARISON_NOTE}\n\n")
    sys.stdout.flush()


def _use_backend(networks: Mapping[str, nn.Module], cfg: Config, session: Session, images: torch.Tensor) -> list[Used]:
    """Let the networks be computed as they were trained: ``retrain.backend``."""
    found = []
    for name, network in networks.items():
        used = use_backend(network, cfg.retrain.backend, images, device=session.device, memory_format=session.memory_format, trains=False)
        LOG.log(logging.WARNING if used.fell_back else logging.INFO, "evaluate: %s: backend %s.", name, used.why)
        found.append(used)
    return found


def true_accuracies(cfg: Config, saved: Mapping[str, Saved]) -> dict[str, float]:
    """Return what ``evaluate.benchmark_table`` says of the cell networks, all in percent; nothing without a table."""
    table, space = benchmark_table(cfg), image_space(cfg)
    if table is None or space.spell is None:
        return {}
    found: dict[str, float] = {}
    for name, one in saved.items():
        if one.entrant.genotype is None:
            continue
        architecture = space.spell(one.entrant.genotype)
        truth = table.look_up(architecture)
        prefix = "" if name == SEARCHED else f"{name}_"
        found |= {f"{prefix}table_{key}": value for key, value in dataclasses.asdict(truth).items()}
        LOG.info("%s: %s has %.2f %% in the table, more than %.1f %% of it.", name, architecture, truth.test_acc, truth.percentile)
    return found
