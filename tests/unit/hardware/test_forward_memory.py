from types import SimpleNamespace

import pytest
import torch
from torch import nn

from darts_core.hardware.memory import forward_memory
from darts_core.runtime import memory as runtime_memory
from darts_core.runtime.memory import MIB, PeakMemory

IMAGE = torch.zeros(1, 1, 4, 4)


class Spender(nn.Module):
    """Holds ``weights_mib`` and needs ``pieces`` tensors of ``piece_kib`` at once."""

    def __init__(self, *, weights_mib, pieces, piece_kib):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(weights_mib * MIB // 4))
        self.pieces, self.piece_kib = pieces, piece_kib

    def forward(self, x):
        held = [torch.ones(self.piece_kib * 256) for _ in range(self.pieces)]
        return x + len(held)


@pytest.mark.parametrize(("pieces", "piece_kib"), [(1, 48 * 1024), (768, 64)])
def test_on_the_cpu_weights_and_growth_are_counted_each_time(pieces, piece_kib):
    with PeakMemory(torch.device("cpu")) as recorder:
        if not recorder.is_exact:
            pytest.skip("this system has no resident peak that can be set back")
    model = Spender(weights_mib=8, pieces=pieces, piece_kib=piece_kib)
    for _ in range(3):  # a later one must not look cheaper because the allocator kept the memory
        memory = forward_memory(model, IMAGE)
        assert 8 + 48 - 2 <= memory.peak_memory_mib <= 8 + 48 + 12
        assert memory.reserved_memory_mib is None


def test_without_a_counter_it_is_unavailable_not_zero(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime_memory, "_STATUS", tmp_path / "absent")
    memory = forward_memory(nn.Identity(), IMAGE)
    assert (memory.peak_memory_mib, memory.reserved_memory_mib) == (None, None)


def test_on_a_gpu_it_is_own_weights_and_allocated_growth(monkeypatch):
    fake = {
        "memory_allocated": 1000 * MIB,  # other networks' weights, too
        "max_memory_allocated": 1300 * MIB,
        "max_memory_reserved": 1500 * MIB,
        "reset_peak_memory_stats": None,
        "synchronize": None,
    }
    for name, value in fake.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)

    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2 * MIB // 4))
            self.register_buffer("running", torch.ones(MIB // 4))

        def forward(self, x):
            return x

    memory = forward_memory(Free(), SimpleNamespace(device=torch.device("cuda", 0)))
    assert memory.peak_memory_mib == pytest.approx(300.0 + 2.0 + 1.0)
    assert memory.reserved_memory_mib == 1500.0
