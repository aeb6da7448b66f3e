import itertools

import pytest
import torch

from darts_core.data.windows import Window, Windows

TOKENS = torch.arange(41 * 2).view(2, 41).t()  # column 0 counts from 0, column 1 from 41


def consume(batches, number=None):
    """What is seen of each window: tokens, targets, the state that it begins in; its forward pass ends in the last token."""
    seen = []
    for window, targets in itertools.islice(batches, number):
        seen.append((window.tokens_TB.clone(), targets, window.state_SBD))
        window.next_state = window.tokens_TB[-1:].double().unsqueeze(-1)
    return seen


def test_windows_follow_one_another_and_the_state_is_carried():
    windows = Windows(TOKENS, 7)
    seen = consume(windows)
    assert [len(tokens) for tokens, _, _ in seen] == [7, 7, 7, 7, 7, 5]
    assert len(windows) == 6
    assert torch.equal(torch.cat([tokens for tokens, _, _ in seen]), TOKENS[:-1])
    assert all(torch.equal(targets, (tokens + 1).flatten()) for tokens, targets, _ in seen)
    assert seen[0][2] is None, "a pass begins without a state"
    assert all(torch.equal(now[2].squeeze(), before[0][-1].double()) for before, now in itertools.pairwise(seen))
    assert consume(windows)[0][2] is None, "so does the next"


def test_the_length_varies_within_limits_and_the_share_with_it():
    tokens = torch.zeros(20_001, 1, dtype=torch.int64)
    windows = list(Windows(tokens, 35, generator=torch.Generator().manual_seed(0)))
    lengths = torch.tensor([len(window.tokens_TB) for window, _ in windows])
    assert lengths.sum() == 20_000
    assert 5 <= lengths[:-1].min() < 22 < 35 < lengths.max() <= 55
    assert 32 < lengths.double().mean() < 36
    assert lengths[-1] > 1
    assert all(window.share == len(window.tokens_TB) / 35 for window, _ in windows)


def test_no_window_of_one_token_is_left_over():
    lengths = {
        len(list(Windows(torch.zeros(n, 1), 10, generator=torch.Generator().manual_seed(n)))[-1][0].tokens_TB) for n in range(30, 90)
    }
    assert min(lengths) > 1


def test_an_endless_one_goes_on_where_it_was():
    def endless():
        return Windows(TOKENS, 7, generator=torch.Generator().manual_seed(1), is_endless=True)

    whole = consume(endless(), 20)
    first = endless()
    consume(first, 9)
    resumed = endless()
    resumed.load_state_dict(first.state_dict())
    for (tokens, targets, state), (tokens_2, targets_2, state_2) in zip(whole[9:], consume(resumed, 11), strict=True):
        assert torch.equal(tokens, tokens_2)
        assert torch.equal(targets, targets_2)
        assert (state is None) == (state_2 is None)
        assert state is None or torch.equal(state, state_2)
    assert sum(state is None for _, _, state in whole) > 2, "each pass anew"


def test_a_window_moves_in_one_piece():
    window = Window(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(1, 3, 4))
    assert window.to(torch.device("meta"), non_blocking=True, memory_format=torch.contiguous_format) is window
    assert window.tokens_TB.is_meta
    assert window.state_SBD.is_meta


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match=r"space\.bptt must be at least 1\. Got 0\."):
        Windows(TOKENS, 0)
    with pytest.raises(ValueError, match=r"at least 2 tokens a column expected\. Got 1\."):
        Windows(TOKENS[:1], 7)
