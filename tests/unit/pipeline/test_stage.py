"""What a stage says of its seconds and its memory."""

import json
import logging

import pytest

from darts_core.pipeline.retrain import peaks_together
from darts_core.pipeline.stage import stage

PARAMS = """
data: {name: digits}
runtime: {device: cpu, num_threads: 1, num_workers: 0, progress: 'off'}
tracking: {enabled: false}
"""


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """Run a body as the stage search, and return what its resources.json says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])  # the stage sets up logging for a process of its own
    (tmp_path / "params.yaml").write_text(PARAMS)

    def run(body):
        with stage("search") as running:
            body(running)
        return json.loads((tmp_path / "reports" / "search" / "resources.json").read_text())

    return run


def test_a_stage_takes_its_wall_time_and_not_the_time_of_its_epochs(resources):
    costs = [
        {"epoch": epoch, "epoch_s": seconds, "data_percent": percent}
        for epoch, seconds, percent in ((1, 700.0, 1.0), (2, 100.0, 10.0), (3, 200.0, 4.0))
    ]
    found = resources(lambda running: running.epochs(costs, prefix="search", total="search_epochs_s"))
    assert (found["search_epochs_s"], found["search_epoch_s"]) == (1000.0, 200.0)
    assert found["search_data_percent"] == pytest.approx(2.5), "25 of 1000 seconds, not the mean of three shares"
    assert 0.0 < found["search_s"] < 60.0


def test_the_runs_before_and_the_processes_beside_count(resources):
    def body(running):
        running.earlier_s = 5000.0
        running.beside = {"rss_mib": 1e6}

    found = resources(body)
    assert 5000.0 < found["search_s"] < 5060.0
    assert 1e6 < found["search_rss_mib"] < 1.1e6


def test_networks_trained_at_once_hold_the_sum_of_the_largest_peaks():
    costs = [
        [{"epoch": 1, "epoch_s": 9.0, "rss_mib": 100.0}, {"epoch": 2, "epoch_s": 9.0, "rss_mib": peak}] for peak in (90.0, 300.0, 200.0)
    ]
    assert peaks_together(costs, processes=2) == {"rss_mib": 500.0}
    assert peaks_together(costs, processes=9) == {"rss_mib": 600.0}
    assert peaks_together([[{"rss_mib": 1.0, "vram_mib": 5.0}]], processes=1) == {"rss_mib": 1.0, "vram_mib": 5.0}
