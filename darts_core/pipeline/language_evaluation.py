"""evaluate and benchmark_hw of language models: perplexity on the test text, and how fast they read."""

from __future__ import annotations

import sys
from functools import partial

import torch
from torch import nn

from darts_core.components import text_space
from darts_core.config import TextConfig
from darts_core.data import columns, open_text
from darts_core.data.windows import Windows
from darts_core.engine.language import Reader
from darts_core.engine.language_evaluation import evaluate_language
from darts_core.engine.lineup import SEARCHED, saved_networks
from darts_core.engine.loop import memory_advice
from darts_core.hardware.benchmark import benchmark
from darts_core.hardware.latency import PROTOCOLS
from darts_core.hardware.rows import Row, shown
from darts_core.pipeline.places import FIGURES, NETWORKS, PREPARED
from darts_core.pipeline.stage import Stage
from darts_core.report.language import plot_perplexities
from darts_core.report.table import LANGUAGE_COLUMNS, comparison_markdown, comparison_text, language_note
from darts_core.runtime.progress import Progress


def run_evaluation(stage: Stage, cfg: TextConfig) -> None:
    """Read the test text with all trained networks and print how they compare."""
    session, prepared, space = stage.session, open_text(PREPARED), text_space(cfg)
    saved = saved_networks(NETWORKS)
    networks = {name: one.build(space, cfg.evaluate.weights).to(session.device) for name, one in saved.items()}
    keys = ("evaluate.batch_size", "evaluate.window")
    test, valid = (
        Windows(columns(part, cfg.evaluate.batch_size, cfg.evaluate.window, keys=keys).to(session.device), cfg.evaluate.window)
        for part in (prepared.test(), prepared.valid())
    )
    with memory_advice("Lower evaluate.batch_size or evaluate.window."):
        tokens = prepared.vocabulary().tokens
        found = evaluate_language(networks, test, valid, spec=prepared.spec, tokens=tokens, cfg=cfg.evaluate, seed=cfg.seed)
    found.save(stage.reports)
    (stage.reports / FIGURES).mkdir(exist_ok=True)
    plot_perplexities(found.scores, stage.reports / FIGURES / "comparison.png")
    heading = f"Test text of {prepared.spec.name}, {prepared.spec.unit}s, weights of the {cfg.evaluate.weights} epoch."
    note = language_note(found.unknown_percent, {name: one.rolled_back for name, one in saved.items()})
    table = comparison_markdown(found.scores, LANGUAGE_COLUMNS)
    (stage.reports / "note.md").write_text(f"{heading}\n\n{table}\n{note}\n", encoding="utf-8")
    stage.tracker.model(Reader(networks[SEARCHED]).cpu(), torch.zeros(cfg.evaluate.window, 1, dtype=torch.int64))
    sys.stdout.write(f"\n{comparison_text(found.scores, LANGUAGE_COLUMNS)}{note}\n\n")
    sys.stdout.flush()


def measure(stage: Stage, cfg: TextConfig, reporter: Progress) -> tuple[list[Row], list[Row]]:
    """Measure every trained network: a token at a time, as it comes when a text is written, and windows of a text that is read."""
    session, prepared, space = stage.session, open_text(PREPARED), text_space(cfg)

    def reader(name: str) -> nn.Module:
        return Reader(saved[name].build(space, cfg.evaluate.weights))

    saved = saved_networks(NETWORKS)
    one_token, windows = (
        benchmark(
            {name: partial(reader, name) for name in saved},
            input_shape=(steps,),
            num_tokens=prepared.spec.vocab_size,
            batch_sizes=cfg.benchmark_hw.batch_sizes,
            protocol=PROTOCOLS[cfg.benchmark_hw.protocol],
            device=session.device,
            on_step=partial(_report, reporter, steps),
        )
        for steps in (1, cfg.evaluate.window)
    )
    return one_token, windows


def _report(reporter: Progress, tokens: int, rows: list[Row]) -> None:
    reporter.epoch(shown(rows, tokens=tokens))
