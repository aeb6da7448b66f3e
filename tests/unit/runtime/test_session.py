import dataclasses
import os
from pathlib import Path

import pytest
import torch

from darts_core.config import RuntimeConfig
from darts_core.runtime.session import available_cores, project_root, start


@pytest.fixture(autouse=True)
def _switches():
    """``start`` sets switches of the whole process: put them back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = torch.get_num_threads(), torch.get_rng_state(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    yield
    torch.set_num_threads(before[0])
    torch.set_rng_state(before[1])
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before[2:]


def test_threads_and_seed_are_set():
    session = start(RuntimeConfig(device="cpu", num_threads=2, num_workers=3, processes=4, progress="off"), seed=9)
    assert torch.get_num_threads() == session.num_threads == 2
    assert (session.num_workers, session.processes, session.progress) == (3, 4, "off")
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(9)))


def test_null_takes_all_cores_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert start(RuntimeConfig(device="cpu"), seed=0).num_threads == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize("deterministic", [True, False])
def test_float32_everywhere_and_no_autotuning_on_the_cpu(deterministic):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    start(RuntimeConfig(device="cpu", num_threads=1, deterministic=deterministic), seed=0)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic is deterministic


def test_channels_last_on_the_cpu_alone():
    session = start(RuntimeConfig(device="cpu", num_threads=1), seed=0)
    assert session.memory_format is torch.channels_last
    assert dataclasses.replace(session, device=torch.device("cuda", 0)).memory_format is torch.contiguous_format


def test_the_root_is_dvcs(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert project_root() == Path("/somewhere")
    monkeypatch.delenv("DVC_ROOT")
    assert project_root() == Path()
