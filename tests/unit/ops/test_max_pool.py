import pytest
import torch
from torch import nn

from darts_core.ops.max_pool import max_pool


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, stride=1, padding=1), nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d((2, 3), ceil_mode=True)]
)
def test_it_is_the_library_s_pool_with_its_gradients(pool, memory_format):
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    theirs, ours = pool(x), max_pool(pool, x)
    assert torch.equal(theirs, ours)
    assert theirs.stride() == ours.stride()
    weights = torch.randn_like(ours)
    assert torch.equal(torch.autograd.grad(theirs, x, weights)[0], torch.autograd.grad(ours, x, weights)[0])
    assert torch.autograd.gradgradcheck(lambda value: max_pool(pool, value), x)


def test_it_keeps_its_input_and_half_of_what_the_library_keeps_of_the_places():
    kept = []
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: kept.append(saved) or saved, lambda saved: saved):
        max_pool(nn.MaxPool2d(3, stride=1, padding=1), x)
    assert sorted(saved.dtype.itemsize * saved.numel() for saved in kept) == [4 * x.numel()] * 2
