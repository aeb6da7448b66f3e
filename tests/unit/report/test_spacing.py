from itertools import pairwise

import pytest

from darts_core.report.spacing import spread


def test_what_is_far_apart_stays():
    assert spread([0.0, 5.0, 9.0], [1.0, 1.0]) == [0.0, 5.0, 9.0]


def test_what_touches_moves_apart_evenly():
    assert spread([2.0, 2.0, 2.0], [1.0, 1.0]) == pytest.approx([1.0, 2.0, 3.0])


def test_the_heavier_one_moves_less():
    first, second = spread([0.0, 0.0], [1.0], [9.0, 1.0])
    assert (first, second) == pytest.approx((-0.1, 0.9))


def test_the_wrong_order_is_mended_with_the_least_squares():
    placed = spread([3.0, 1.0, 2.0, 8.0], [1.0, 1.0, 1.0])
    assert all(b - a >= 1.0 - 1e-12 for a, b in pairwise(placed))
    assert placed == pytest.approx([1.0, 2.0, 3.0, 8.0])


def test_nothing_stays_nothing():
    assert spread([], []) == []
