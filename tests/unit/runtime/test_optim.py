"""SGD in its fastest form beside the plain one."""

import pytest
import torch
from torch import nn

from darts_core.runtime.optim import sgd

SETTINGS = {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}
SHAPES = ((16, 1, 5, 5), (16, 16, 1, 1), (10, 64), (10,), (7, 1, 3, 3))


def steps(optimizer, parameters):
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for p in parameters:
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
        optimizer.step()
    return [p.detach() for p in parameters]


def parameters(dtype):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, dtype=dtype, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_steps_are_those_of_the_plain_form(dtype):
    own, plain = parameters(dtype), parameters(dtype)
    found = steps(sgd(own, **SETTINGS), own)
    expected = steps(torch.optim.SGD(plain, foreach=False, fused=False, **SETTINGS), plain)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("error", [RuntimeError, TypeError])
def test_a_torch_without_a_fused_form_takes_the_plain_one(error, monkeypatch):
    class Older(torch.optim.SGD):
        def __init__(self, *args, fused=None, **options):
            if fused:
                raise error("fused=True is not for the CPU")
            super().__init__(*args, **options)

    own, plain = parameters(torch.float32), parameters(torch.float32)
    monkeypatch.setattr(torch.optim, "SGD", Older)
    optimizer = sgd(own, **SETTINGS)
    assert isinstance(optimizer, Older)
    expected = steps(Older(plain, **SETTINGS), plain)
    assert all(torch.equal(a, b) for a, b in zip(steps(optimizer, own), expected, strict=True))
