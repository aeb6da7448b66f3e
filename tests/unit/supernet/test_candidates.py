"""What is remembered of an operation, and what must not be."""

import pytest
import torch

from darts_core.ops.native import library as kernels
from darts_core.supernet.candidates import Candidates, kind_of
from darts_core.supernet.cell import candidate
from darts_core.supernet.native import NativeSource, native_total


def state(dtype=torch.float64, channels=4):
    return torch.randn(2, channels, 8, 8, dtype=dtype)


def test_an_operation_is_looked_at_once_for_each_kind_of_state():
    known, op, x = Candidates(), candidate("sep_conv_3x3", 4, stride=1).double(), state()
    found = known.find(op, x, kind_of(x))
    assert found is not None
    assert len(found.blocks) == 2
    assert known.find(op, x, kind_of(x)) is found
    single, wide = state(torch.float32), state(channels=5)
    assert known.find(op, single, kind_of(single)) is None
    assert known.find(op, wide, kind_of(wide)) is None
    other = candidate("sep_conv_3x3", 4, stride=1).double()
    assert known.find(other, x, kind_of(x)).blocks[0].depthwise is other.dw1


def test_the_mode_is_not_remembered():
    known, op, x = Candidates(), candidate("max_pool_3x3", 4, stride=1).double(), state()
    assert known.find_usable(op, x, kind_of(x)) is not None
    op.eval()
    assert known.find_usable(op, x, kind_of(x)) is None, "its gradient in evaluation mode is torch's"
    with torch.no_grad():
        assert known.find_usable(op, x, kind_of(x)) is not None


@pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda op: op.float(), "Weights have the precision of their maps, torch.float64"),
        (lambda op: op.bn.float(), "Buffers fit their maps, 4 channels of torch.float64. Got"),
        (lambda op: setattr(op.pw, "weight", torch.nn.Parameter(op.pw.weight[:3].detach())), "Weights fit 4 channels. Got"),
    ],
)
def test_an_operation_that_changed_since_is_refused(change, complaint):
    known, op, x = Candidates(), candidate("dil_conv_3x3", 4, stride=1).double(), state()
    weight = torch.ones((), dtype=x.dtype)
    assert native_total([NativeSource(x, known).term(op, weight)])
    change(op)
    with pytest.raises(ValueError, match=complaint):
        assert NativeSource(native_total([NativeSource(x, known).term(op, weight)])).x is None


def compute(op, x, known):
    return NativeSource(native_total([NativeSource(x, known).term(op, torch.ones((), dtype=x.dtype))]), known).x


@pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")
@pytest.mark.parametrize("name", ["max_pool_3x3", "sep_conv_3x3"])
@pytest.mark.parametrize(("field", "value"), [("affine", True), ("eps", 0.5), ("track_running_stats", False)])
def test_a_batch_norm_that_changed_since_is_computed_as_it_is_now(name, field, value):
    known, op, x = Candidates(), candidate(name, 4, stride=1).double(), state()
    compute(op, x, known)
    bn = op[1] if name == "max_pool_3x3" else op.bn2
    if field == "affine":
        bn.weight, bn.bias = (torch.nn.Parameter(torch.full((4,), number, dtype=x.dtype)) for number in (3.0, 1.0))
    setattr(bn, field, value)
    torch.testing.assert_close(compute(op, x, known), op(x))


@pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")
@pytest.mark.parametrize("name", ["max_pool_3x3", "sep_conv_3x3"])
def test_a_batch_norm_without_buffers_is_refused_or_left_to_torch(name):
    known, op, x = Candidates(), candidate(name, 4, stride=1).double(), state()
    compute(op, x, known)
    bn = op[1] if name == "max_pool_3x3" else op.bn2
    bn.running_mean = bn.running_var = None
    with pytest.raises(ValueError, match="has buffers as long as its supernet is trained"):
        compute(op, x, known)
    torch.testing.assert_close(compute(op, x, Candidates()), op(x))


def test_parts_that_were_replaced_are_seen():
    known, op, x = Candidates(), candidate("max_pool_3x3", 4, stride=1).double(), state()
    assert known.find(op, x, kind_of(x)) is not None
    op[0] = torch.nn.MaxPool2d(5, stride=1, padding=2)
    assert known.find(op, x, kind_of(x)) is None
