"""Sampled paths on every backend in every memory mode, beside the published forward: the same are drawn, whatever computes them."""

import pytest

from tests.oracle.test_backends import SAMPLED, TOLERANCE, WAYS, Reference, trajectory, worst


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("space", ["all", "one input"])
def test_three_steps_equal_the_published_forward(way, method, space):
    expected = trajectory((Reference, False), space=space, order=method, size=(8, 8))
    text, error = worst(trajectory(WAYS[way], space=space, order=method, size=(8, 8)), expected)
    assert error <= TOLERANCE, text
