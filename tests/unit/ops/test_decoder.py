"""A decoder and its cross entropy a few rows at a time, beside the logits of all rows at once."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from darts_core.ops import decoder

ROWS, WIDTH, CLASSES = 23, 5, 11


@pytest.fixture(params=[1, 3 * CLASSES, 2**20], ids=["a row at a time", "three rows", "all"], autouse=True)
def most(request, monkeypatch):
    monkeypatch.setitem(decoder._MOST, "cpu", request.param)
    return request.param


def given(rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, WIDTH), (CLASSES, WIDTH), (CLASSES,))
    tensors = [torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in shapes]
    return *tensors, torch.randint(CLASSES, (rows,), generator=generator)


def plain(x, weight, bias, target):
    return F.cross_entropy(F.linear(x, weight, bias), target)


@pytest.mark.parametrize("rows", [1, ROWS])
def test_loss_and_gradients_are_those_of_all_logits_at_once(rows):
    *leaves, target = given(rows)
    own, other = decoder.mean_loss(*leaves, target), plain(*leaves, target)
    torch.testing.assert_close(own, other, rtol=0, atol=1e-12)
    for mine, theirs in zip(torch.autograd.grad(3 * own, leaves), torch.autograd.grad(3 * other, leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_only_what_needs_a_gradient_gets_one():
    x, weight, bias, target = given()
    (grad,) = torch.autograd.grad(decoder.mean_loss(x, weight.detach(), bias.detach(), target), [x])
    torch.testing.assert_close(grad, torch.autograd.grad(plain(x, weight, bias, target), [x])[0], rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(decoder.mean_loss(x, weight, bias, target), plain(x, weight, bias, target), rtol=0, atol=1e-12)


def test_the_losses_of_the_rows():
    x, weight, bias, target = given()
    own = decoder.losses(x.float(), weight.float(), bias.float(), target)
    assert own.dtype == torch.float64
    assert not own.requires_grad
    torch.testing.assert_close(own, F.cross_entropy(F.linear(x, weight, bias), target, reduction="none").detach(), rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """The most elements that a result has had."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numel = max(
            self.numel, *(x.numel() for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, torch.Tensor)), 0
        )
        return out


def test_no_tensor_has_the_logits_of_all_rows(most):
    *leaves, target = given()
    with Largest() as largest:
        torch.autograd.grad(decoder.mean_loss(*leaves, target), leaves)
        decoder.losses(*leaves, target)
    whole = ROWS * WIDTH  # the inputs and their gradient
    assert largest.numel == max(whole, CLASSES * min(ROWS, max(1, most // CLASSES)))
