import getpass
import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from darts_core.hardware.provenance import PACKAGES, provenance

CPU = torch.device("cpu")


def record(device=CPU):
    return provenance(device, seeds={"seed": 3, "split_seed": 0}, data_hash="d" * 64, config_hash="c" * 64)


def test_the_record_is_json_and_holds_what_a_comparison_needs():
    made = record()
    assert json.loads(json.dumps(made)) == made
    assert made["schema_version"] == 1
    assert made["seeds"] == {"seed": 3, "split_seed": 0}
    assert (made["data_hash"], made["config_hash"]) == ("d" * 64, "c" * 64)
    assert made["python"] == platform.python_version()
    assert set(made["packages"]) == set(PACKAGES)
    assert made["packages"]["numpy"] == np.__version__
    assert made["device"]["type"] == "cpu"
    assert record() == made


def test_flags_follow_torch(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark)
    before = record()["flags"]
    assert before["cudnn_benchmark"] == torch.backends.cudnn.benchmark
    assert before["num_threads"] == torch.get_num_threads()
    assert any(name.startswith("matmul_") for name in before)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("HSA_OVERRIDE_GFX_VERSION", "8.0.3", "8.0.3"),
        ("MIOPEN_DEBUG_CONV_WINOGRAD", "0", "0"),
        ("TORCH_BLAS_PREFER_HIPBLASLT", "0", "0"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", ":4096:8"),
        ("PYTORCH_HIP_ALLOC_CONF", "max_split_size_mb:128", "max_split_size_mb:128"),
        ("PYTORCH_ALLOC_CONF", "a:b", "a:b"),
        ("LD_PRELOAD", "/opt/rocm/lib/libgfx803_sgemm_shim.so:/home/ada/libx.so.1", "libgfx803_sgemm_shim.so:libx.so.1"),
    ],
)
def test_settings_that_choose_kernels_are_kept(monkeypatch, name, value, kept):
    monkeypatch.setenv(name, value)
    assert record()["environment"][name] == kept


@pytest.mark.parametrize("path", ["/home/ada/miopen", "C:\\Users\\ada\\miopen", "~/ada", "../ada/db", "ada/db", "/home/ada"])
def test_a_path_becomes_a_hash_that_still_tells_two_apart(monkeypatch, path):
    monkeypatch.setenv("MIOPEN_USER_DB_PATH", path)
    said = record()["environment"]["MIOPEN_USER_DB_PATH"]
    assert said.startswith("<path ")
    assert "ada" not in said.removeprefix("<path ")[12:]
    monkeypatch.setenv("MIOPEN_USER_DB_PATH", path + "2")
    assert record()["environment"]["MIOPEN_USER_DB_PATH"] != said


def test_no_secret_and_nothing_else_of_the_environment(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "HIP_API_KEY", "MIOPEN_PASSWORD", "HOME", "MY_OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "hunter2")
    assert "hunter2" not in json.dumps(record())


def test_no_name_of_machine_or_user_and_no_folder_of_either():
    text = json.dumps(record())
    for private in (platform.node(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        assert len(private) < 5 or private not in text
    assert len(record()["host_id"]) == 16


def test_commit_and_changes_of_tracked_files(monkeypatch, tmp_path):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert record()["git"] is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.hooksPath=none"]
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert record()["git"] is None
    (tmp_path / "code.txt").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (tmp_path / "dvc.lock").write_text("left by a run")
    assert record()["git"] == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "code.txt").write_text("2")
    assert record()["git"]["dirty"] is True


def test_without_git_the_record_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert record()["git"] is None
