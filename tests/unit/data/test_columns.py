"""A text as columns that are read side by side."""

import pytest
import torch

from darts_core.data import columns


def test_columns_are_contiguous_pieces_and_the_rest_is_dropped():
    assert torch.equal(columns(torch.arange(203), 2, 100), torch.stack([torch.arange(101), torch.arange(101, 202)], dim=1))


def test_a_text_shorter_than_a_batch_names_the_keys():
    keys = ("search.batch_size", "space.bptt")
    with pytest.raises(ValueError, match=r"21 tokens here, .* 2 windows of 10 \+ 1. Lower search.batch_size or space.bptt"):
        columns(torch.arange(21), 2, 10, keys=keys)
    assert columns(torch.arange(22), 2, 10, keys=keys).shape == (11, 2)
    with pytest.raises(ValueError, match=r"search.batch_size and space.bptt must be at least 1"):
        columns(torch.arange(21), 0, 10, keys=keys)
