import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.ops import OPS
from darts_core.ops.conv import DilatedConv, FactorizedConv, FactorizedReduce, ReluConvBn, SeparableConv


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sep_conv_3x3", 800),
        ("sep_conv_5x5", 1312),
        ("sep_conv_7x7", 2080),
        ("dil_conv_3x3", 400),
        ("dil_conv_5x5", 656),
        ("conv_7x1_1x7", 3584),
    ],
)
def test_parameters_are_the_published_counts(name, params):
    """Of 16 channels, stride 1; affine BatchNorms add 2 a channel."""
    plain, affine = (OPS.get(name)(16, stride=1, affine=affine) for affine in (False, True))
    assert sum(p.numel() for p in plain.parameters()) == params
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in affine.modules())
    assert sum(p.numel() for p in affine.parameters()) == params + norms * 32


class TestFactorizedReduce:
    def test_even_sizes_take_even_and_odd_pixels(self):
        torch.manual_seed(0)
        op = FactorizedReduce(3, 5, affine=False)
        x = torch.randn(4, 3, 6, 8)
        positive = x.clamp_min(0.0)
        even = F.conv2d(positive[:, :, ::2, ::2], op.conv1.weight)
        odd = F.conv2d(positive[:, :, 1::2, 1::2], op.conv2.weight)
        expected = F.batch_norm(torch.cat([even, odd], 1), None, None, training=True)
        torch.testing.assert_close(op(x), expected)

    def test_an_odd_side_is_padded_with_zeros_at_its_end(self):
        torch.manual_seed(0)
        op = FactorizedReduce(3, 4, affine=False).eval()
        x = torch.randn(2, 3, 7, 5)
        out = op(x)
        assert out.shape == (2, 4, 4, 3)
        assert torch.equal(out, op(F.pad(x, (0, 1, 0, 1))))

    @pytest.mark.parametrize(("channels", "split"), [(1, (0, 1)), (2, (1, 1)), (5, (2, 3))])
    def test_any_number_of_channels(self, channels, split):
        op = FactorizedReduce(2, channels, affine=True)
        assert (0 if op.conv1 is None else op.conv1.out_channels, op.conv2.out_channels) == split
        assert op(torch.randn(2, 2, 1, 1)).shape == (2, channels, 1, 1)
        assert op.bn.affine


def test_relu_conv_bn_is_what_it_says():
    torch.manual_seed(0)
    op = ReluConvBn(3, 4, affine=True)
    x = torch.randn(5, 3, 4, 4)
    conv = torch.einsum("oc,bchw->bohw", op.conv.weight[:, :, 0, 0], x.clamp_min(0.0))
    mean, var = conv.mean((0, 2, 3), keepdim=True), conv.var((0, 2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(op(x), (conv - mean) / (var + 1e-5).sqrt(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_separable_and_dilated_convolutions_by_library_parts(kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(4, 6, 9, 8)

    def block(x, depthwise, pointwise, *, stride, padding, dilation=1):
        x = F.conv2d(x.clamp_min(0.0), depthwise.weight, None, stride, padding, dilation, groups=6)
        return F.batch_norm(F.conv2d(x, pointwise.weight), None, None, training=True)

    sep = SeparableConv(6, kernel, stride=stride, affine=False)
    halfway = block(x, sep.dw1, sep.pw1, stride=stride, padding=kernel // 2)
    torch.testing.assert_close(sep(x), block(halfway, sep.dw2, sep.pw2, stride=1, padding=kernel // 2), rtol=1e-4, atol=1e-5)
    dil = DilatedConv(6, kernel, stride=stride, affine=False)
    torch.testing.assert_close(dil(x), block(x, dil.dw, dil.pw, stride=stride, padding=kernel - 1, dilation=2), rtol=1e-4, atol=1e-5)


def test_factorized_conv_is_strided_once_in_each_direction():
    op = FactorizedConv(2, 7, stride=2, affine=False).eval()
    x = torch.randn(1, 2, 9, 9)
    wide = op.across(x.clamp_min(0.0))
    assert wide.shape[-2:] == (9, 5)
    assert op(x).shape[-2:] == (5, 5)


@pytest.mark.parametrize("name", OPS.names())
def test_the_input_is_never_written_to(name):
    x = torch.randn(2, 4, 6, 6)
    before = x.clone()
    OPS.get(name)(4, stride=1, affine=True)(x)
    assert torch.equal(x, before)
