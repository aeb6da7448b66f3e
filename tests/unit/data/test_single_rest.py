"""A last training batch of one image: BatchNorm cannot train on one value a channel, so that image joins the batch before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darts_core.data import AugmentPolicy, Batches, Cycle, Images
from darts_core.nets.skeleton import AuxiliaryHead


def numbered(count: int) -> Images:
    """Images whose label is their own number."""
    return Images.from_arrays(np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1), np.arange(count))


def batches(count: int, size: int, *, shuffle: bool = True, drop_last: bool = False, seed: int = 0) -> Batches:
    return Batches(numbered(count), size, shuffle=shuffle, drop_last=drop_last, generator=torch.Generator().manual_seed(seed))


def sizes(loader: Batches) -> list[int]:
    return [len(y) for _, y in loader]


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (13, 4, [4, 4, 5]),
        (5, 4, [5]),
        (3, 2, [3]),
        (14, 4, [4, 4, 4, 2]),
        (12, 4, [4, 4, 4]),
        (4, 4, [4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_one_image_joins_the_batch_before_it(count: int, size: int, expected: list[int]) -> None:
    loader = batches(count, size)
    assert sizes(loader) == expected
    assert len(loader) == len(expected)
    assert sorted(torch.cat([y for _, y in loader]).tolist()) == list(range(count))


def test_evaluation_keeps_its_batches() -> None:
    assert sizes(batches(13, 4, shuffle=False)) == [4, 4, 4, 1]
    assert len(batches(13, 4, shuffle=False)) == 4


def test_drop_last_drops_it() -> None:
    loader = batches(13, 4, drop_last=True)
    assert sizes(loader) == [4, 4, 4]
    assert len(loader) == 3


def test_a_cycle_uses_up_each_permutation() -> None:
    cycle = Cycle(batches(9, 4))
    for _ in range(3):
        taken = [next(cycle)[1] for _ in range(2)]
        assert [len(y) for y in taken] == [4, 5]
        assert sorted(torch.cat(taken).tolist()) == list(range(9))


@pytest.mark.parametrize("taken", range(6))
def test_a_cycle_resumes_bit_for_bit(taken: int) -> None:
    images = Images.from_arrays(np.random.default_rng(0).integers(0, 256, (9, 2, 5, 5), dtype=np.uint8), np.arange(9) % 3)

    def cycle(seed: int) -> Cycle:
        policy = AugmentPolicy(crop_padding=1, flip=True)
        return Cycle(Batches(images, 4, shuffle=True, policy=policy, generator=torch.Generator().manual_seed(seed)))

    one, other = cycle(0), cycle(1)
    for _ in range(taken):
        next(one)
    other.load_state_dict(one.state_dict())
    for _ in range(5):
        (x, y), (u, v) = next(one), next(other)
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_what_it_is_for() -> None:
    """The auxiliary head ends in feature maps of one pixel."""
    head = AuxiliaryHead(1, 13, stem="cifar")
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        head(torch.randn(1, 1, 2, 2))
    for x, _ in batches(13, 4):
        assert head(x).isfinite().all()
