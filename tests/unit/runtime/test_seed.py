import pytest
import torch

from darts_core.runtime.seed import derived_seed, seeded, stream


def test_streams_differ_by_name_and_by_seed():
    seeds = [derived_seed(seed, name) for seed in (0, 1, 11) for name in ("weights", "alphas", "1/weights", "")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_is_the_same_in_every_run():
    """A pinned value: results of an earlier release stay reproducible."""
    assert derived_seed(0, "search weights") == 7804101683789898420
    assert torch.equal(torch.rand(3, generator=stream(5, "x")), torch.rand(3, generator=stream(5, "x")))


def test_a_draw_more_in_one_stream_changes_nothing_in_another():
    expected = torch.rand(3, generator=stream(0, "b"))
    torch.rand(100, generator=stream(0, "a"))
    torch.rand(100)
    assert torch.equal(torch.rand(3, generator=stream(0, "b")), expected)


def test_seeded_follows_the_stream_and_puts_the_default_generator_back():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(7, "weights"):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(inside, torch.rand(4, generator=stream(7, "weights")))


def test_seeded_puts_it_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="negative"), seeded(7, "weights"):
        torch.rand(-1)
    assert torch.equal(torch.get_rng_state(), before)
