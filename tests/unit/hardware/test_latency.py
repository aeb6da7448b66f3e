import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from darts_core.hardware import latency
from darts_core.hardware.latency import PROTOCOLS, Block, Protocol, first_inference, measure_block, timed_forward, warm_up

IMAGE = torch.zeros(1, 1, 4, 4)
TINY = Protocol(name="tiny", samples=8, rounds=2, block_s=0.0, block_cap_s=1.0, warmup_s=0.0, warmup_cap_s=0.05)


class Sleeper(nn.Module):
    def __init__(self, seconds=0.0):
        super().__init__()
        self.seconds = seconds
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        time.sleep(self.seconds)
        return x


def test_a_sample_is_the_wall_clock_of_one_inference():
    block = Block()
    timed_forward(Sleeper(0.005), IMAGE, into=block)
    assert 5.0 <= block.wall_ms[0] < 1000.0
    assert block.device_ms == []


def test_on_a_gpu_the_device_has_its_own_clock_and_is_waited_for(monkeypatch):
    events = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            events.append("record")

        def elapsed_time(self, end):
            events.append("elapsed")
            return 1.25

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append("synchronize"))
    block = Block()
    timed_forward(lambda x: events.append("forward"), SimpleNamespace(device=torch.device("cuda", 0)), into=block)
    assert events == ["record", "forward", "record", "synchronize", "elapsed"]
    assert block.device_ms == [1.25]


def scripted(monkeypatch, times):
    stream = iter(times)
    monkeypatch.setattr(latency, "timed_forward", lambda model, x, *, into: into.wall_ms.append(next(stream)))


def test_warm_up_ends_when_two_windows_agree(monkeypatch):
    scripted(monkeypatch, [50.0] * 10 + [10.0] * 10 + [10.1] * 10)
    assert warm_up(Sleeper(), IMAGE, protocol=TINY)


def test_warm_up_that_never_settles_ends_at_the_cap_and_says_so(monkeypatch):
    scripted(monkeypatch, (1.1**i for i in range(7000)))
    monkeypatch.setattr(latency.time, "perf_counter", iter(i * 0.001 for i in range(7000)).__next__)
    assert not warm_up(Sleeper(), IMAGE, protocol=TINY)


def test_warm_up_lasts_its_second_even_if_all_agree():
    start = time.perf_counter()
    protocol = Protocol(name="t", samples=2, rounds=2, block_s=0.0, block_cap_s=1.0, warmup_s=0.1, warmup_cap_s=0.3)
    warm_up(Sleeper(0.002), IMAGE, protocol=protocol)
    assert 0.1 <= time.perf_counter() - start < 5.0


def test_a_block_has_its_share_of_the_samples_and_one_more_run():
    model = Sleeper(0.0005)
    block = measure_block(model, IMAGE, protocol=TINY)
    assert len(block.wall_ms) == 4
    assert model.calls == 5


def test_a_block_ends_at_its_cap_with_at_least_one_sample():
    protocol = Protocol(name="t", samples=1000, rounds=2, block_s=0.0, block_cap_s=0.02, warmup_cap_s=0.1)
    assert 1 <= len(measure_block(Sleeper(0.005), IMAGE, protocol=protocol).wall_ms) <= 4
    slow = Sleeper(0.03)
    assert len(measure_block(slow, IMAGE, protocol=protocol).wall_ms) == slow.calls == 1


def test_first_inference_counts_the_building_and_leaves_the_network_ready():
    def factory():
        time.sleep(0.02)
        return nn.Conv2d(1, 2, 1)

    model, milliseconds = first_inference(factory, IMAGE, memory_format=torch.channels_last)
    assert 20.0 <= milliseconds < 10_000.0
    assert not model.training


def test_quick_stays_within_its_bound_for_four_networks_and_three_batch_sizes():
    quick = PROTOCOLS["quick"]
    assert 3 * (5 * quick.rounds * quick.block_cap_s + 4 * quick.warmup_cap_s) <= 77.0
    assert quick.rounds * quick.block_s >= 3.0
    assert quick.samples >= 100


def test_full_follows_its_published_durations():
    full = PROTOCOLS["full"]
    assert full.rounds * full.block_s >= 60.0
    assert full.samples >= 1024
    assert full.warmup_cap_s == 120.0


def test_rounds_are_mirrored_so_their_number_is_even():
    with pytest.raises(ValueError, match=r"even and at least 2\. Got 3"):
        Protocol(name="odd", samples=1, rounds=3, block_s=0.0, block_cap_s=1.0, warmup_cap_s=1.0)
