from __future__ import annotations

import numpy as np
import pytest

from darts_core.data.splits import check_covers, stratified

NAMES = ["a", "b", "c"]
LABELS = np.repeat([0, 1, 2], [100, 50, 10])


def divide(fraction: float, seed: int = 0, labels: np.ndarray = LABELS) -> tuple[np.ndarray, np.ndarray]:
    return stratified(labels, fraction, seed=(seed, 0), key="data.valid_fraction", class_names=NAMES)


def test_every_image_is_on_exactly_one_side() -> None:
    rest, part = divide(0.2)
    assert sorted([*rest, *part]) == list(range(160))


def test_each_class_gives_its_share() -> None:
    _, part = divide(0.2)
    assert np.bincount(LABELS[part]).tolist() == [20, 10, 2]


def test_a_small_share_still_gives_one_of_each_class() -> None:
    rest, part = divide(0.001)
    assert np.bincount(LABELS[part]).tolist() == [1, 1, 1]
    rest, part = divide(0.999)
    assert np.bincount(LABELS[rest]).tolist() == [1, 1, 1]


def test_the_seed_decides() -> None:
    assert np.array_equal(divide(0.2)[1], divide(0.2)[1])
    assert not np.array_equal(divide(0.2)[1], divide(0.2, seed=1)[1])


def test_sorted_labels_are_not_cut_in_order() -> None:
    _, part = divide(0.5)
    assert part[:50].tolist() != list(range(50))
    assert part.tolist() == sorted(part)


def test_a_class_of_one_image_is_named() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    with pytest.raises(ValueError, match=r"data.valid_fraction: every class needs at least 2 .* Too few in 'b' \(1\)"):
        divide(0.5, labels=labels)


def test_missing_classes_are_named() -> None:
    with pytest.raises(ValueError, match=r"No image of 'b', 'c' in the test split.* Do this"):
        check_covers(np.array([0, 0]), part="test", class_names=NAMES, advice="Do this.")
