"""A stage that is run again by hand, where DVC does not clear its outputs, leaves nothing of the run before."""

import hashlib
import json
import logging

import pytest

from darts_core.genotype import Genotype, published
from darts_core.pipeline import derive, evaluate, prepare, retrain, search
from darts_core.pipeline.places import GENOTYPE, NETWORKS, REPORTS, SEARCH
from darts_core.pipeline.stage import stage

PARAMS = """
data: {name: digits, valid_fraction: 0.1}
space: {name: darts_cnn, init_channels: 2, layers: 3, nodes: 1, primitives: [none, skip_connect, avg_pool_3x3]}
search: {epochs: 1, data_fraction: 0.1}
derive: {genotype: search}
retrain: {epochs: 1, batch_size: 128, init_channels: 2, layers: 3, auxiliary: false, cutout: false, baselines: [], random_genotypes: 2}
evaluate: {bootstrap_samples: 10}
runtime: {device: cpu, num_threads: 1, num_workers: 0, progress: 'off'}
tracking: {enabled: false}
"""
STAGES = {"prepare_data": prepare, "search": search, "derive_genotype": derive, "retrain": retrain, "evaluate": evaluate}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])  # the stage sets up logging for a process of its own

    def run(*names, params=PARAMS):
        (tmp_path / "params.yaml").write_text(params)
        for name in names:
            with stage(name) as running:
                STAGES[name].run(running)

    return run


def test_networks_tables_and_weights_of_an_earlier_run_are_gone(run):
    run(*STAGES)
    assert (NETWORKS / "random_1/best.pt").exists()
    assert "random_1" in (REPORTS["evaluate"] / "comparison.csv").read_text()
    run("retrain", "evaluate", params=PARAMS.replace("random_genotypes: 2", "random_genotypes: 1"))
    assert sorted(folder.name for folder in NETWORKS.iterdir()) == ["random_0", "searched"]
    assert not (REPORTS["retrain"] / "random_1.csv").exists()
    assert "random_1" not in (REPORTS["evaluate"] / "comparison.csv").read_text()

    run("search", params=PARAMS.replace("genotype: search", "genotype: DARTS_V2"))
    assert [path.name for path in SEARCH.iterdir()] == ["arch.json"]
    assert not list(REPORTS["search"].glob("*.png"))


def test_a_genotype_file_is_copied_with_a_word_of_where_it_is_from(run, tmp_path):
    hashes = set()
    for name in ("DARTS_V1", "DARTS_V2"):
        published(name).save(tmp_path / "mine.json")
        run("search", "derive_genotype", params=PARAMS.replace("genotype: search", "genotype: mine.json"))
        assert Genotype.load(GENOTYPE) == published(name)
        source = json.loads((REPORTS["derive_genotype"] / "source.json").read_text())
        assert source == {"genotype": "mine.json", "sha256": hashlib.sha256(GENOTYPE.read_bytes()).hexdigest()}
        hashes.add(source["sha256"])
    assert len(hashes) == 2
