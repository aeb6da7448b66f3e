"""benchmark_hw: speed and memory of the network and its baselines on this device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from darts_core.components import image_space
from darts_core.data import open_prepared
from darts_core.engine.lineup import saved_networks
from darts_core.hardware.benchmark import benchmark
from darts_core.hardware.facts import describe, device_facts
from darts_core.hardware.latency import PROTOCOLS
from darts_core.hardware.rows import Row, benchmark_metrics, rows_to_frame
from darts_core.pipeline.places import NETWORKS, PREPARED, write_json
from darts_core.pipeline.stage import Stage
from darts_core.report.benchmark import plot_benchmark
from darts_core.runtime.checkpoint import clear_finished
from darts_core.runtime.progress import Progress


def run(stage: Stage) -> None:
    """Measure every trained network by the protocol of ``benchmark_hw.*`` and write down what the device is, and with how many threads."""
    cfg, session, spec = stage.cfg, stage.session, open_prepared(PREPARED).spec
    space = image_space(cfg)
    sizes, threads = cfg.benchmark_hw.batch_sizes, cfg.benchmark_hw.num_threads or session.num_threads
    torch.set_num_threads(threads)
    reporter = Progress("benchmark_hw", len(set(sizes)), mode=session.progress, unit="batch size")
    rows = benchmark(
        {name: partial(saved.build, space, cfg.evaluate.weights) for name, saved in saved_networks(NETWORKS).items()},
        input_shape=(spec.channels, spec.height, spec.width),
        batch_sizes=sizes,
        protocol=PROTOCOLS[cfg.benchmark_hw.protocol],
        device=session.device,
        memory_format=session.memory_format,
        on_step=lambda step: reporter.epoch(_shown(step)),
    )
    reporter.close()
    frame = rows_to_frame(rows)
    frame.to_csv(stage.reports / "latency.csv", index=False)
    plot_benchmark(frame, stage.reports / "latency.png", device=describe(session.device, num_threads=threads))
    write_json(stage.reports / "device.json", {**device_facts(session.device), "num_threads": threads})
    stage.metrics(benchmark_metrics(rows))
    stage.provenance(data_hash=spec.content_hash)
    clear_finished(session.root)


def _shown(step: Sequence[Row]) -> dict[str, float]:
    return {f"{row.network} bs{row.batch_size} ms": row.latency.median_ms for row in step if row.latency is not None}
