"""benchmark_hw: speed and memory of the network and its baselines on this device."""

from __future__ import annotations

from functools import partial

import torch

from darts_core.components import image_space
from darts_core.config import Config, TextConfig
from darts_core.data import open_prepared, open_text
from darts_core.engine.lineup import saved_networks
from darts_core.hardware.benchmark import benchmark
from darts_core.hardware.facts import describe, device_facts
from darts_core.hardware.latency import PROTOCOLS
from darts_core.hardware.rows import Row, benchmark_metrics, language_metrics, rows_to_frame, shown
from darts_core.pipeline.language_evaluation import measure
from darts_core.pipeline.places import NETWORKS, PREPARED, write_json
from darts_core.pipeline.stage import Stage
from darts_core.report.benchmark import plot_benchmark
from darts_core.runtime.checkpoint import clear_finished
from darts_core.runtime.progress import Progress


def run(stage: Stage) -> None:
    """Measure every trained network by the protocol of ``benchmark_hw.*`` and write down what the device is, and with how many threads."""
    cfg, session = stage.cfg, stage.session
    sizes, threads = set(cfg.benchmark_hw.batch_sizes), cfg.benchmark_hw.num_threads or session.num_threads
    torch.set_num_threads(threads)
    device = describe(session.device, num_threads=threads)
    reporter = Progress("benchmark_hw", len(sizes) * (2 if isinstance(cfg, TextConfig) else 1), mode=session.progress, unit="batch size")
    if isinstance(cfg, TextConfig):
        one_token, windows = measure(stage, cfg, reporter)
        tables, content_hash = {"latency": one_token, "throughput": windows}, open_text(PREPARED).spec.content_hash
        subjects = {"latency": "a token at a time", "throughput": f"{cfg.evaluate.window} tokens at a time"}
        metrics = language_metrics(one_token, windows)
    else:
        rows = _measure(stage, cfg, reporter)
        tables, content_hash, metrics = {"latency": rows}, open_prepared(PREPARED).spec.content_hash, benchmark_metrics(rows)
        subjects = {"latency": ""}
    reporter.close()
    unit = "tokens" if isinstance(cfg, TextConfig) else "images"
    for name, measured in tables.items():
        frame = rows_to_frame(measured)
        plot_benchmark(frame, stage.reports / f"{name}.png", device=device, unit=unit, subject=subjects[name])
        if unit == "tokens":
            frame = frame.rename(columns={"throughput_img_s": "throughput_tokens_s"})
        frame.to_csv(stage.reports / f"{name}.csv", index=False)
    write_json(stage.reports / "device.json", {**device_facts(session.device), "num_threads": threads})
    stage.metrics(metrics)
    stage.provenance(data_hash=content_hash)
    clear_finished(session.root)


def _measure(stage: Stage, cfg: Config, reporter: Progress) -> list[Row]:
    session, spec, space = stage.session, open_prepared(PREPARED).spec, image_space(cfg)
    return benchmark(
        {name: partial(saved.build, space, cfg.evaluate.weights) for name, saved in saved_networks(NETWORKS).items()},
        input_shape=(spec.channels, spec.height, spec.width),
        batch_sizes=cfg.benchmark_hw.batch_sizes,
        protocol=PROTOCOLS[cfg.benchmark_hw.protocol],
        device=session.device,
        memory_format=session.memory_format,
        on_step=lambda step: reporter.epoch(shown(step)),
    )
