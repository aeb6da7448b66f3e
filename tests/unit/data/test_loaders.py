from __future__ import annotations

import numpy as np
import pytest
import torch

from darts_core.data import AugmentPolicy, Batches, Cycle, Images

POLICY = AugmentPolicy(1, True, 2)


@pytest.fixture(scope="module")
def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (23, 3, 6, 6), dtype=np.uint8)
    return Images.from_arrays(pixels, np.arange(23) % 4)


def numbered() -> Images:
    """Images whose label is their own number."""
    return Images.from_arrays(np.arange(23, dtype=np.uint8).reshape(23, 1, 1, 1), np.arange(23))


def loader(images: Images, seed: int = 0, size: int = 5, **options: bool) -> Batches:
    return Batches(images, size, shuffle=True, policy=POLICY, generator=torch.Generator().manual_seed(seed), **options)


def assert_same(one: list, other: list) -> None:
    assert len(one) == len(other)
    for (x, y), (u, v) in zip(one, other):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_an_epoch_shows_every_image_once_in_a_new_order() -> None:
    batches = Batches(numbered(), 5, shuffle=True, generator=torch.Generator().manual_seed(0))
    first, second = (torch.cat([y for _, y in batches]).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second
    assert len(batches) == 5


def test_types_and_shapes(images: Images) -> None:
    x, y = next(iter(loader(images)))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert (tuple(x.shape), tuple(y.shape)) == ((5, 3, 6, 6), (5,))


def test_float32_whatever_the_default_is(images: Images) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        x, _ = next(iter(loader(images)))
    finally:
        torch.set_default_dtype(torch.float32)
    assert x.dtype == torch.float32


def test_drop_last_leaves_out_the_short_batch(images: Images) -> None:
    assert [len(y) for _, y in loader(images, drop_last=True)] == [5, 5, 5, 5]
    assert [len(y) for _, y in loader(images)] == [5, 5, 5, 5, 3]


def test_unshuffled_batches_need_no_generator_and_are_plain(images: Images) -> None:
    batches = Batches(images, 23, shuffle=False)
    x, y = next(iter(batches))
    assert torch.equal(y, images.labels)
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std(correction=0)) - 1.0) < 1e-2


def test_a_generator_is_asked_for(images: Images) -> None:
    with pytest.raises(ValueError, match="need a generator"):
        Batches(images, 5, shuffle=True)
    with pytest.raises(ValueError, match="need a generator"):
        Batches(images, 5, shuffle=False, policy=POLICY)
    with pytest.raises(ValueError, match="need a generator"):
        Cycle(Batches(images, 5, shuffle=False))


def test_too_few_images_are_an_error(images: Images) -> None:
    with pytest.raises(ValueError, match="23 images do not fill one batch of 24"):
        loader(images, size=24, drop_last=True)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        loader(images, size=0)


def test_the_seed_decides(images: Images) -> None:
    assert_same(list(loader(images)), list(loader(images)))
    assert not torch.equal(next(iter(loader(images)))[0], next(iter(loader(images, seed=1)))[0])


def test_batches_resume_at_an_epoch(images: Images) -> None:
    batches = loader(images)
    list(batches)
    state = batches.state_dict()
    expected = list(batches)
    other = loader(images, seed=9)
    other.load_state_dict(state)
    assert_same(list(other), expected)


def test_a_cycle_uses_up_each_permutation() -> None:
    cycle = Cycle(Batches(numbered(), 5, shuffle=True, generator=torch.Generator().manual_seed(0)))
    for _ in range(3):
        assert sorted(torch.cat([next(cycle)[1] for _ in range(5)]).tolist()) == list(range(23))


def test_a_cycle_equals_epochs_end_to_end(images: Images) -> None:
    cycle, batches = Cycle(loader(images)), loader(images)
    assert_same([next(cycle) for _ in range(10)], [*batches, *batches])


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 7, 10])
def test_a_cycle_resumes_bit_for_bit(images: Images, taken: int, tmp_path) -> None:
    cycle = Cycle(loader(images))
    for _ in range(taken):
        next(cycle)
    torch.save(cycle.state_dict(), tmp_path / "state.pt")
    expected = [next(cycle) for _ in range(13)]
    other = Cycle(loader(images, seed=9))
    next(other)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same([next(other) for _ in range(13)], expected)
    assert torch.equal(cycle.state_dict()["generator"], other.state_dict()["generator"])


def test_a_cycle_resumes_twice(images: Images) -> None:
    """A state saved after resuming within a permutation leads on as well as the first."""
    cycle = Cycle(loader(images))
    for _ in range(2):
        next(cycle)
    again = Cycle(loader(images, seed=5))
    again.load_state_dict(cycle.state_dict())
    next(again), next(cycle)
    third = Cycle(loader(images, seed=6))
    third.load_state_dict(again.state_dict())
    assert_same([next(third) for _ in range(9)], [next(cycle) for _ in range(9)])


def test_a_position_of_other_batches_is_refused(images: Images) -> None:
    with pytest.raises(ValueError, match=r"saved position is of .*'batch_size': 5.* these batches have .*'batch_size': 6"):
        Cycle(loader(images, size=6)).load_state_dict(Cycle(loader(images)).state_dict())
