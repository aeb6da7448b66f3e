"""Operations that draw: the same numbers within a step, others in the next, all of it restored."""

import pytest
import torch

from darts_core.ops import OPS
from darts_core.ops.drawn import DROPPED, Dropout, drawn_modules, redraw

X = torch.randn(4, 3, 20, 20) + 5.0


def test_dropout_leaves_four_fifths_and_their_sum():
    torch.manual_seed(0)
    out = Dropout()(X)
    kept = out != 0.0
    assert abs(float(kept.float().mean()) - (1.0 - DROPPED)) < 0.02
    torch.testing.assert_close(out[kept], X[kept] / (1.0 - DROPPED))


@pytest.mark.parametrize("name", ["dropout", "noise"])
def test_numbers_change_from_step_to_step_and_not_within_one(name):
    torch.manual_seed(0)
    op = OPS.get(name)(3, stride=1, affine=False)
    first = op(X)
    assert torch.equal(op(X), first)
    redraw(drawn_modules(op))
    second = op(X)
    assert not torch.equal(second, first)
    other = OPS.get(name)(3, stride=1, affine=False)
    assert not torch.equal(other(X), first), "another operation has numbers of its own"
    other.load_state_dict(op.state_dict())
    assert torch.equal(other(X), second)
