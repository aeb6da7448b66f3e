"""Every registered operation, whatever it is: its shapes, its gradients, its options."""

import pytest
import torch

from darts_core.ops import OPS

SIZES = [(8, 8), (7, 9), (6, 5), (1, 1), (2, 1)]


@pytest.fixture(params=OPS.names())
def name(request):
    return request.param


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
class TestEveryOperation:
    @pytest.mark.parametrize("channels", [1, 5])
    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    def test_shape_and_gradients(self, name, stride, affine, size, channels):
        torch.manual_seed(0)
        op = OPS.get(name)(channels, stride=stride, affine=affine)
        x = torch.randn(3, channels, *size, requires_grad=True)
        out = op(x)
        assert out.shape == (3, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert out.dtype == x.dtype
        assert out.isfinite().all()
        if out.requires_grad:
            torch.nn.functional.softplus(out).sum().backward()
            assert x.grad.isfinite().all()
        else:
            assert name == "noise" or not out.any(), "what does not depend on its input is zero"
        assert all(p.grad is not None and p.grad.isfinite().all() for p in op.parameters())

    def test_evaluation_is_deterministic_and_by_image(self, name, stride, affine):
        torch.manual_seed(0)
        op = OPS.get(name)(4, stride=stride, affine=affine).eval()
        x = torch.randn(3, 4, 9, 8)
        with torch.no_grad():
            out = op(x)
            assert torch.equal(op(x), out)
            torch.testing.assert_close(torch.cat([op(image[None]) for image in x]), out)

    def test_affine_is_honoured(self, name, stride, affine):
        op = OPS.get(name)(4, stride=stride, affine=affine)
        norms = [module for module in op.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert all(norm.affine is affine for norm in norms)

    def test_channels_last_is_the_same_function(self, name, stride, affine):
        torch.manual_seed(0)
        op = OPS.get(name)(4, stride=stride, affine=affine).double()
        x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
        expected = op(x)
        op.to(memory_format=torch.channels_last)
        torch.testing.assert_close(op(x.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_no_pointwise_convolution_is_strided(name, stride):
    """One to fewer than four channels writes outside its memory in torch 2.14.1, with channels-last images on the CPU."""
    convs = [module for module in OPS.get(name)(2, stride=stride, affine=False).modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(conv.stride == (1, 1) for conv in convs if conv.kernel_size == (1, 1))


def test_it_is_documented_and_has_no_other_option(name):
    assert OPS.summary(name).endswith(".")
    assert set(OPS.options(name)) == {"stride", "affine"}
