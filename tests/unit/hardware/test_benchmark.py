import time

import pytest
import torch
from torch import nn

from darts_core.hardware.benchmark import benchmark
from darts_core.hardware.latency import Protocol

TINY = Protocol(name="tiny", samples=8, rounds=4, block_s=0.01, block_cap_s=0.05, warmup_s=0.0, warmup_cap_s=0.02)
CPU = torch.device("cpu")


class Net(nn.Module):
    """Takes ``seconds``, and fails as a full device does from ``limit`` images on."""

    def __init__(self, name, *, seconds=0.0, limit=10**9, calls=None, error=None):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.called, self.seconds, self.limit, self.calls = name, seconds, limit, calls
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory")

    def forward(self, x):
        if self.calls is not None:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            self.calls.append((self.called, tuple(x.shape), x))
        if len(x) >= self.limit:
            raise self.error
        time.sleep(self.seconds)
        return self.linear(x.mean((1, 2)))


def measure(networks, *, batch_sizes=(1, 8), **options):
    return benchmark(networks, input_shape=(3, 4, 4), batch_sizes=batch_sizes, protocol=TINY, device=CPU, **options)


def test_a_row_for_each_pair_with_ratios_to_the_first():
    steps = []
    rows = measure(
        {"searched": lambda: Net("a", seconds=0.001), "resnet20": lambda: Net("b", seconds=0.003)},
        batch_sizes=(8, 1, 8),
        on_step=steps.append,
    )
    assert [(row.network, row.batch_size) for row in rows] == [("searched", 1), ("resnet20", 1), ("searched", 8), ("resnet20", 8)]
    assert [len(step) for step in steps] == [2, 2]
    for row in rows:
        assert row.status == "ok"
        assert row.latency.n >= 4
        assert row.noise_floor >= 0.0
        assert row.first_inference_ms > 1.0
        assert row.throughput_img_s == pytest.approx(1000.0 * row.batch_size / row.latency.median_ms)
    searched, resnet20 = rows[:2]
    assert searched.ratio.ratio == 1.0
    assert searched.latency.median_ms < resnet20.latency.median_ms
    assert 1.5 < resnet20.ratio.ratio < 4.5
    assert resnet20.device_median_ms is None


def test_networks_take_mirrored_turns_on_the_same_images_and_the_first_once_more():
    calls = []
    measure({name: lambda name=name: Net(name, seconds=0.001, calls=calls) for name in "abc"}, batch_sizes=(2,))
    turns = []
    for name, shape, _ in calls:
        assert shape in {(1, 3, 4, 4), (2, 3, 4, 4)}
        if not turns or turns[-1] != name:
            turns.append(name)
    # the first inferences, the warm-ups, then four rounds of a b c a' and back; equal neighbours are one
    assert "".join(turns) == "abc" + "abc" + "abca" + "cba" + "bca" + "cba"
    assert len({x.sum().item() for _, shape, x in calls if shape[0] == 2}) == 1


def test_a_slow_network_ends_the_rounds_early_after_a_pair():
    rows = measure({"searched": lambda: Net("a", seconds=0.25)}, batch_sizes=(1,))
    assert rows[0].latency.n == 2
    assert not rows[0].is_complete
    assert not rows[0].is_stable


def test_a_batch_that_does_not_fit_is_a_row_and_the_last_of_its_network():
    rows = measure({"searched": lambda: Net("a"), "big": lambda: Net("b", limit=4)}, batch_sizes=(1, 8, 16))
    assert [(row.network, row.batch_size, row.status) for row in rows] == [
        ("searched", 1, "ok"),
        ("big", 1, "ok"),
        ("searched", 8, "ok"),
        ("big", 8, "oom"),
        ("searched", 16, "ok"),
    ]
    assert rows[3].latency is None
    assert rows[3].memory is None


def test_without_the_reference_there_are_latencies_but_no_ratios():
    full = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
    rows = measure(
        {"searched": lambda: Net("a", limit=4, error=full), "other": lambda: Net("b"), "third": lambda: Net("c")}, batch_sizes=(8, 16)
    )
    assert [(row.network, row.batch_size, row.status) for row in rows] == [
        ("searched", 8, "oom"),
        ("other", 8, "ok"),
        ("third", 8, "ok"),
        ("other", 16, "ok"),
        ("third", 16, "ok"),
    ]
    assert all(row.ratio is None and row.noise_floor is None and row.latency is not None for row in rows[1:])


def test_a_network_that_cannot_even_start_is_one_row():
    rows = measure({"searched": lambda: Net("a", limit=1)})
    assert [(row.batch_size, row.status, row.first_inference_ms) for row in rows] == [(1, "oom", None)]


def test_any_other_error_of_a_network_is_not_swallowed():
    with pytest.raises(RuntimeError, match="shape mismatch"):
        measure({"searched": lambda: Net("a", limit=8, error=RuntimeError("shape mismatch"))})


def test_the_memory_format_reaches_images_weights_and_rows():
    calls = []

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            calls.append(
                x.is_contiguous(memory_format=torch.channels_last) and self.conv.weight.is_contiguous(memory_format=torch.channels_last)
            )
            return self.conv(x)

    rows = measure({"searched": Conv}, batch_sizes=(2,), memory_format=torch.channels_last)
    assert all(calls)
    assert rows[0].memory_format == "channels_last"


def test_a_row_says_with_how_many_threads_it_was_measured():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rows = measure({"searched": lambda: Net("a"), "full": lambda: Net("b", limit=1)}, batch_sizes=(1,))
            assert [(row.status, row.num_threads) for row in rows] == [("ok", threads), ("oom", threads)]
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_measured_is_an_error():
    with pytest.raises(ValueError, match=r"benchmark_hw\.batch_sizes: .* Got \[0, 8\]"):
        measure({"searched": lambda: Net("a")}, batch_sizes=(0, 8))
    with pytest.raises(ValueError, match="batch_sizes"):
        measure({"searched": lambda: Net("a")}, batch_sizes=())
    with pytest.raises(ValueError, match="networks: at least one"):
        measure({})
    with pytest.raises(ValueError, match=r"networks\['searched'\] must be a function"):
        measure({"searched": Net("a")})
