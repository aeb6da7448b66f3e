import pytest
import torch
from torch import nn

from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce


def build(name, stride, channels=4):
    return OPS.get(name)(channels, stride=stride, affine=True)


def test_none_is_zero_whatever_comes_in():
    x = torch.tensor([1.0, float("inf"), float("nan"), -2.0]).view(1, 1, 2, 2).expand(3, 4, 2, 2)
    for stride, size in ((1, 2), (2, 1)):
        out = build("none", stride)(x)
        assert out.shape == (3, 4, size, size)
        assert out.dtype == x.dtype
        assert not out.any()


def test_skip_is_the_input_itself_or_a_reduction():
    x = torch.randn(2, 4, 5, 5)
    assert isinstance(build("skip_connect", 1), nn.Identity)
    assert build("skip_connect", 1)(x) is x
    assert isinstance(build("skip_connect", 2), FactorizedReduce)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("name", "reduce"), [("max_pool_3x3", max), ("avg_pool_3x3", lambda values: sum(values) / len(values))])
def test_pools_see_the_image_alone(name, reduce, stride):
    """Padding is neither a maximum nor counted in a mean."""
    x = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(0)) - 10.0
    out = build(name, stride, 1)(x)
    for row in range(out.shape[2]):
        for column in range(out.shape[3]):
            top, left = row * stride, column * stride
            window = [x[0, 0, i, j].item() for i in range(top - 1, top + 2) for j in range(left - 1, left + 2) if 0 <= i < 5 and 0 <= j < 6]
            assert out[0, 0, row, column].item() == pytest.approx(reduce(window), rel=1e-6)
