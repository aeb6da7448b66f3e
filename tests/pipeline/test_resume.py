"""kill -9 in the middle of a stage, the same command again: on the CPU the result is bit for bit that of an uninterrupted run."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PARAMS = """
data: {name: digits, valid_fraction: 0.1}
space: {name: darts_cnn, init_channels: 2, layers: 3, nodes: 2, primitives: [none, max_pool_3x3, skip_connect, sep_conv_3x3]}
search: {epochs: 3, batch_size: 64, data_fraction: 0.4}
retrain: {epochs: 3, batch_size: 128, init_channels: 4, layers: 2, drop_path_prob: 0.3, baselines: [], random_genotypes: 1}
runtime: {device: cpu, num_threads: 1, num_workers: 0, processes: PROCESSES, progress: lines}
tracking: {enabled: false}
"""
TEXT = """
data: {name: text, root: corpus.txt, valid_fraction: 0.1, min_count: 1}
space: {name: darts_rnn, nodes: 2, hidden: 6, bptt: 5}
search: {epochs: 3, batch_size: 8, lr: 0.2, lr_min: 0.2}
retrain: {epochs: 6, batch_size: 8, bptt: 5, hidden: 8, lr: 5.0, nonmono: 1, baselines: [], random_genotypes: 1}
evaluate: {batch_size: 2, window: 5}
runtime: {device: cpu, num_threads: 1, num_workers: 0, processes: 1, progress: lines}
tracking: {enabled: false}
"""


def command(stage: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("DVC_ROOT", None)
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def run(stage: str, folder: Path) -> str:
    process = command(stage, folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def kill_after(stage: str, folder: Path, *, line: str) -> str:
    """Start the stage and kill it as soon as a line that matches has been written; return what it had written."""
    process = command(stage, folder)
    seen = ""
    for text in process.stderr:
        seen += text
        if re.search(line, text):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL, seen
    return seen


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files, f"{folder} holds nothing to compare"
    for path in files:
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def resources(stage: str, folder: Path) -> dict[str, float]:
    return json.loads((folder / "reports" / stage / "resources.json").read_text())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "params.yaml").write_text(PARAMS.replace("PROCESSES", "1"))
    for stage in ("prepare_data", "search", "derive_genotype", "retrain"):
        run(stage, folder)
    return folder


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_ends_like_an_uninterrupted_one(uninterrupted, tmp_path, processes):
    (tmp_path / "params.yaml").write_text(PARAMS.replace("PROCESSES", str(processes)))
    run("prepare_data", tmp_path)
    kill_after("search", tmp_path, line=r"^search  2/3 ")
    assert not (tmp_path / "data/search").exists()
    resumed = run("search", tmp_path)
    assert "search  1/3" not in resumed, "at most one epoch is repeated"
    assert digest(tmp_path / "data/search") == digest(uninterrupted / "data/search")
    seconds = resources("search", tmp_path)
    assert 0.0 < seconds["search_data_percent"] < 100.0
    assert seconds["search_s"] > seconds["search_epochs_s"] > seconds["search_epoch_s"], "the killed run's epochs took their time, too"
    run("derive_genotype", tmp_path)
    kill_after("retrain", tmp_path, line=r"^retrain random_0  1/3 ")
    if processes > 1:
        time.sleep(1.5)  # the workers see that the stage is gone and end, too
    run("retrain", tmp_path)
    assert digest(tmp_path / "data/retrain") == digest(uninterrupted / "data/retrain")
    used = resources("retrain", tmp_path)
    each = [used["retrain_searched_s"], used["retrain_random_0_s"]]
    assert used["retrain_s"] > (sum(each) if processes == 1 else max(each))
    assert processes == 1 or used["retrain_rss_mib"] > 1.5 * used["retrain_searched_rss_mib"], "the memory of all processes"
    before = digest(tmp_path / "data/retrain")
    assert "retrain " not in run("retrain", tmp_path), (
        "killed after its outputs were written, before DVC had them: nothing is trained again"
    )
    assert digest(tmp_path / "data/retrain") == before


def test_another_search_backend_goes_on_where_the_first_one_was_and_both_are_noted(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "data/prepared", tmp_path / "data/prepared")
    params = PARAMS.replace("PROCESSES", "1")
    (tmp_path / "params.yaml").write_text(params)
    kill_after("search", tmp_path, line=r"^search  2/3 ")
    (tmp_path / "params.yaml").write_text(params.replace("search: {", "search: {backend: reference, memory: lean, "))
    resumed = run("search", tmp_path)
    assert "search: goes on with what backend eager computed." in resumed
    assert "search  1/3" not in resumed
    computed = json.loads((tmp_path / "reports/search/provenance.json").read_text())["computed"]
    assert (computed["backend"], computed["memory"]) == ("eager then reference", "normal then lean")
    whole, own = (pd.read_csv(folder / "reports/search/history.csv") for folder in (uninterrupted, tmp_path))
    assert whole["train_loss"][0] == own["train_loss"][0]
    assert own["train_loss"].tolist() == pytest.approx(whole["train_loss"].tolist(), rel=1e-3)
    assert own["valid_loss"].tolist() == pytest.approx(whole["valid_loss"].tolist(), rel=1e-2)
    (tmp_path / "params.yaml").write_text(params)
    again = run("search", tmp_path)
    assert "search: is over; the result is what backend reference computed." in again
    assert "search  3/3" not in again


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="native needs a compiler")
def test_another_retrain_backend_goes_on_where_the_first_one_was_and_both_are_noted(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "data", tmp_path / "data", ignore=shutil.ignore_patterns("retrain"))
    params = PARAMS.replace("PROCESSES", "1")
    (tmp_path / "params.yaml").write_text(params)
    kill_after("retrain", tmp_path, line=r"^retrain searched  2/3 ")
    (tmp_path / "params.yaml").write_text(params.replace("random_genotypes: 1}", "random_genotypes: 1, backend: native}"))
    resumed = run("retrain", tmp_path)
    assert "searched: goes on from epoch 2, which backend eager computed." in resumed
    assert "retrain searched  1/3" not in resumed
    computed = json.loads((tmp_path / "reports/retrain/provenance.json").read_text())["computed"]
    assert computed["backend_searched"] == "eager, then native"
    whole, own = (pd.read_csv(folder / "reports/retrain/history.csv") for folder in (uninterrupted, tmp_path))
    assert whole["train_loss"][:2].equals(own["train_loss"][:2])
    assert own["train_loss"][2] == pytest.approx(whole["train_loss"][2], rel=1e-3)


def test_a_killed_language_model_ends_like_an_uninterrupted_one(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    (whole / "params.yaml").write_text(TEXT)
    words, drawn = ["the", "cat", "dog", "sat", "ran", "on", "under", "a", "mat", "hat"], random.Random(0)
    (whole / "corpus.txt").write_text("\n".join(" ".join(drawn.choices(words, k=9)) for _ in range(150)))
    run("prepare_data", whole)
    shutil.copytree(whole, killed)
    for stage in ("search", "derive_genotype"):
        run(stage, whole)
    assert "from here on the weights are averaged" in run("retrain", whole), "the kill below is to be after it"
    kill_after("search", killed, line=r"^search  2/3 ")
    assert not (killed / "data/search").exists()
    assert "search  1/3" not in run("search", killed), "at most one epoch is repeated"
    assert digest(killed / "data/search") == digest(whole / "data/search")
    shutil.copytree(whole / "data/genotype", killed / "data/genotype")
    kill_after("retrain", killed, line=r"^retrain searched  4/6 .* is_averaged 1 ")
    assert not (killed / "data/retrain").exists()
    assert "retrain searched  3/6" not in run("retrain", killed)
    assert digest(killed / "data/retrain") == digest(whole / "data/retrain")
    for history in ("search/history.csv", "retrain/history.csv"):
        assert (killed / "reports" / history).read_bytes() == (whole / "reports" / history).read_bytes()


def test_a_second_writer_is_refused(uninterrupted, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS.replace("PROCESSES", "1").replace("epochs: 3", "epochs: 50"))
    run("prepare_data", tmp_path)
    first = command("search", tmp_path)
    try:
        next(line for line in first.stderr if line.startswith("search  1/50"))
        second = command("search", tmp_path)
        _, errors = second.communicate(timeout=120)
        assert second.returncode == 1
        assert "is in use: another process runs this stage" in errors
        assert "Traceback" not in errors
    finally:
        first.kill()
        first.stderr.close()
        first.wait()
