"""The stage benchmark_hw computes with the threads that it is asked for, and writes them down."""

import json
import logging

import pandas as pd
import pytest
import torch

from darts_core.hardware.latency import Protocol
from darts_core.pipeline import benchmark
from darts_core.pipeline.stage import stage

PARAMS = """
data: {name: digits}
benchmark_hw: {batch_sizes: [1], num_threads: THREADS}
runtime: {device: cpu, num_threads: 1, num_workers: 0, progress: 'off'}
tracking: {enabled: false}
"""
TINY = Protocol(name="tiny", samples=4, rounds=2, block_s=0.01, block_cap_s=0.05, warmup_s=0.0, warmup_cap_s=0.02)


class Spec:
    channels, height, width, content_hash = 1, 8, 8, "abc"


class Prepared:
    spec = Spec()


class Saved:
    """A network as retrain leaves it."""

    def build(self, space, weights):
        return torch.nn.Conv2d(1, 2, 3)


@pytest.mark.parametrize(("threads", "used"), [("null", 1), ("2", 2)])
def test_the_threads_of_the_measurement(threads, used, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])  # the stage sets up logging for a process of its own
    monkeypatch.setattr(benchmark, "open_prepared", lambda _: Prepared())
    monkeypatch.setattr(benchmark, "saved_networks", lambda _: {"searched": Saved()})
    monkeypatch.setattr(benchmark, "PROTOCOLS", {"quick": TINY})
    titles = []
    monkeypatch.setattr(benchmark, "plot_benchmark", lambda frame, path, *, device, unit, subject: titles.append(device))
    (tmp_path / "params.yaml").write_text(PARAMS.replace("THREADS", threads))
    before = torch.get_num_threads()
    try:
        with stage("benchmark_hw") as running:
            benchmark.run(running)
    finally:
        torch.set_num_threads(before)
    reports = tmp_path / "reports" / "benchmark_hw"
    assert pd.read_csv(reports / "latency.csv")["num_threads"].tolist() == [used]
    assert json.loads((reports / "device.json").read_text())["num_threads"] == used
    assert json.loads((reports / "metrics.json").read_text())["benchmark_num_threads"] == used
    assert f" / {used} thread{'s' if used > 1 else ''} of " in titles[0]
