import pytest
import torch

from darts_core.ops.drop_path import DropPath


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def test_at_probability_0_the_input_comes_back_and_nothing_is_drawn():
    drop = DropPath(stream())
    before = drop.generator.get_state()
    x = torch.randn(3, 2, 4, 4)
    assert drop(x) is x
    assert torch.equal(drop.generator.get_state(), before)


def test_an_image_is_dropped_or_kept_as_a_whole():
    x = torch.rand(64, 3, 2, 2) + 1.0
    out = DropPath(stream(), prob=0.25)(x)
    kept = out.flatten(1).ne(0.0).all(1)
    assert torch.equal(kept, out.flatten(1).ne(0.0).any(1))
    assert 0 < kept.sum() < 64
    torch.testing.assert_close(out[kept], x[kept] / 0.75)


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.9])
def test_the_expectation_is_preserved(prob):
    out = DropPath(stream(), prob=prob)(torch.ones(40_000, 1, 1, 1))
    deviation = (prob / (1.0 - prob) / 40_000) ** 0.5
    assert abs(float(out.mean()) - 1.0) < 4.0 * deviation
    assert abs(float((out == 0.0).float().mean()) - prob) < 4.0 * (prob * (1.0 - prob) / 40_000) ** 0.5


def test_the_generator_decides():
    x = torch.ones(50, 1, 1, 1)
    one, other = DropPath(stream(1), prob=0.5), DropPath(stream(1), prob=0.5)
    torch.rand(10)
    assert torch.equal(one(x), other(x))
    assert not torch.equal(one(x), DropPath(stream(1), prob=0.5)(x)), "each call draws anew"


def test_the_gradient_is_masked_alike():
    x = torch.ones(20, 2, 1, 1, requires_grad=True)
    out = DropPath(stream(), prob=0.4)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_type_and_memory_format_stay():
    x = torch.randn(4, 3, 5, 5, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    out = DropPath(stream(), prob=0.3)(x)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
