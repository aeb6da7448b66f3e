"""Windows of a text: every token is read once and predicted once, in order, and a resumed pass goes on where it was."""

import pytest
import torch

from darts_core.data import CycleWindows, Windows, batchify

TEXT = torch.arange(203)


def test_columns_are_contiguous_pieces():
    assert torch.equal(batchify(TEXT, 2), torch.stack([torch.arange(101), torch.arange(101, 202)], dim=1))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_pass_reads_each_column_in_order_and_predicts_what_follows(seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    windows = Windows(TEXT, 2, 20, generator=generator)
    parts = list(windows)
    assert torch.equal(torch.cat([part.x_TB for part in parts]), windows.ids_LB[:-1])
    assert torch.equal(torch.cat([part.y_TB for part in parts]), windows.ids_LB[1:])
    assert [part.is_first for part in parts] == [True] + [False] * (len(parts) - 1)
    assert windows.num_tokens == 200
    if seed is None:
        assert [len(part.x_TB) for part in parts] == [20] * 5
        assert len(windows) == 5


def test_lengths_vary_as_published():
    windows = Windows(torch.arange(400_000), 1, 35, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([len(part.x_TB) for part in windows])[:-1].double()
    assert lengths.min() >= 5
    assert lengths.max() <= 55
    short = (lengths < 26).double().mean()
    assert 0.05 < short < 0.10  # 0.95 * P(N(35, 5) < 26) + 0.05 * P(N(17.5, 5) < 26) = 0.034 + 0.048
    assert lengths[lengths >= 26].mean() == pytest.approx(34.8, abs=0.4)


@pytest.mark.parametrize("taken", [0, 1, 4, 17])
def test_endless_windows_resume_bit_for_bit(taken):
    def endless():
        return CycleWindows(Windows(TEXT, 2, 10, generator=torch.Generator().manual_seed(3)))

    one, other = endless(), endless()
    for _ in range(taken):
        next(one)
    state = one.state_dict()
    other.load_state_dict(state)
    for _ in range(25):
        a, b = next(one), next(other)
        assert torch.equal(a.x_TB, b.x_TB)
        assert torch.equal(a.y_TB, b.y_TB)
        assert a.is_first == b.is_first
    with pytest.raises(ValueError, match="101 tokens; these have 67"):
        CycleWindows(Windows(TEXT, 3, 10)).load_state_dict(state)


def test_a_text_shorter_than_a_batch_names_the_keys():
    with pytest.raises(ValueError, match=r"203 tokens, .* 20 windows of 10 \+ 1. Lower search.batch_size or space.bptt"):
        Windows(TEXT, 20, 10, keys=("search.batch_size", "space.bptt"))
    with pytest.raises(ValueError, match="must be at least 1"):
        Windows(TEXT, 0, 10)
