"""Pools of 2x2 pixels by a loop over windows; what stands behind one at stride 2."""

import pytest
import torch

from darts_core.ops import OPS


def slowly(x, *, stride, take):
    height, width = x.shape[-2:]
    rows = [[take(x[:, :, i : i + 2, j : j + 2].flatten(2)) for j in range(0, width, stride)] for i in range(0, height, stride)]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 4), (1, 3)])
def test_pools_take_the_pixels_that_are_there(stride, size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    for name, take in (("max_pool_2x2", lambda window: window.amax(2)), ("avg_pool_2x2", lambda window: window.mean(2))):
        torch.testing.assert_close(OPS.get(name)(3, stride=stride, affine=False)(x), slowly(x, stride=stride, take=take))


def test_a_normalisation_of_stride_two_is_one_of_means():
    x = torch.randn(2, 3, 6, 6)
    means = slowly(x, stride=2, take=lambda window: window.mean(2))
    expected = torch.nn.functional.layer_norm(means, means.shape[1:])
    torch.testing.assert_close(OPS.get("layer_norm")(3, stride=2, affine=False)(x), expected)
