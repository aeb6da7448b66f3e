import mmap
import time

import pytest
import torch

from darts_core.runtime import memory as memory_module
from darts_core.runtime.memory import MIB, PeakMemory, free_mib, resident_mib

CPU = torch.device("cpu")
BIG_MIB = 96


def filled():
    """Take BIG_MIB from the system and write to every page; memory of a tensor may come from what the process holds already."""
    block = mmap.mmap(-1, BIG_MIB * MIB)
    for page in range(0, BIG_MIB * MIB, mmap.PAGESIZE):
        block[page] = 1
    return block


def spend():
    """Fill and free BIG_MIB at once, faster than anything that samples."""
    filled().close()


@pytest.fixture
def exact():
    with PeakMemory(CPU) as recorder:
        if not recorder.is_exact:
            pytest.skip("this system has no resident peak that can be set back")


@pytest.mark.usefixtures("exact")
def test_a_short_peak_is_seen_and_the_whole_outlives_the_laps():
    before = resident_mib()
    with PeakMemory(CPU) as recorder:
        spend()
        first = recorder.lap()
        second = recorder.lap()
    assert first.keys() == {"rss_mib"}
    assert first["rss_mib"] >= before + 0.9 * BIG_MIB
    assert second["rss_mib"] < first["rss_mib"] - 0.5 * BIG_MIB
    assert recorder.as_dict("search") == {"search_rss_mib": first["rss_mib"]}


@pytest.mark.usefixtures("exact")
def test_an_inner_recorder_takes_nothing_from_the_outer_one():
    before = resident_mib()
    with PeakMemory(CPU) as outer:
        spend()
        with PeakMemory(CPU) as inner:
            inner.lap()
        assert inner.as_dict("i")["i_rss_mib"] < before + 0.5 * BIG_MIB
        assert outer.as_dict("o")["o_rss_mib"] >= before + 0.9 * BIG_MIB


def test_without_the_kernels_counter_a_thread_looks(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_module, "_CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    before = resident_mib()
    with PeakMemory(CPU) as recorder:
        assert not recorder.is_exact
        held = filled()
        time.sleep(0.3)
        del held
        assert recorder.lap()["rss_mib"] >= before + 0.9 * BIG_MIB
        assert recorder.lap()["rss_mib"] < before + 0.5 * BIG_MIB
    assert not recorder._sampler.is_alive()


def test_a_system_without_proc_falls_back_too(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_module, "_STATUS", tmp_path / "status")
    with PeakMemory(CPU) as recorder:
        assert not recorder.is_exact
    assert recorder.as_dict("x")["x_rss_mib"] > 1.0


def test_the_recorder_ends_with_an_error_inside():
    with pytest.raises(RuntimeError, match="inside"), PeakMemory(CPU) as recorder:
        raise RuntimeError("inside")
    assert recorder not in PeakMemory._open
    assert recorder.as_dict("x")["x_rss_mib"] > 1.0


def test_on_a_gpu_allocated_and_reserved_peaks_are_kept_by_lap_and_whole(monkeypatch):
    now = {"allocated": 700 * MIB, "reserved": 800 * MIB}
    resets = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: now["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: now["reserved"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    gpu = torch.device("cuda", 0)
    with PeakMemory(gpu) as recorder:
        first = recorder.lap()
        now.update(allocated=300 * MIB)
        second = recorder.lap()
    assert resets == [gpu] * 3
    assert (first["vram_mib"], first["vram_reserved_mib"], second["vram_mib"]) == (700.0, 800.0, 300.0)
    whole = recorder.as_dict("retrain")
    assert whole.keys() == {"retrain_rss_mib", "retrain_vram_mib", "retrain_vram_reserved_mib"}
    assert whole["retrain_vram_mib"] == 700.0


def test_free_memory_of_the_cpu_is_the_machines():
    assert 10.0 < free_mib(CPU) < 1e8


def test_a_containers_limit_is_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    without = free_mib(CPU)
    (tmp_path / "memory.current").write_text(f"{30 * MIB}\n")
    (tmp_path / "memory.max").write_text(f"{40 * MIB}\n")
    assert free_mib(CPU) == 10.0
    (tmp_path / "memory.max").write_text("max\n")
    assert free_mib(CPU) > 0.5 * without


def test_free_memory_of_a_gpu_counts_what_torch_holds_unused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 * MIB, 8000 * MIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50 * MIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20 * MIB)
    assert free_mib(torch.device("cuda", 0)) == 130.0
