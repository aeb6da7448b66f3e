import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.nets.skeleton import AuxiliaryHead, build_stem, plan_cells, pooled, reduction_layers


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(1, {0}), (2, {0, 1}), (3, {1, 2}), (5, {1, 3}), (8, {2, 5}), (11, {3, 7}), (14, {4, 9}), (17, {5, 11}), (20, {6, 13})],
)
def test_reductions_at_one_and_two_thirds(layers, expected):
    assert reduction_layers(layers) == expected


def test_the_plan_of_the_papers_supernet():
    plans = list(plan_cells(16, [layer in (2, 5) for layer in range(8)], stem="cifar", width={"normal": 4, "reduce": 4}))
    assert [plan.channels for plan in plans] == [16, 16, 32, 32, 32, 64, 64, 64]
    assert [plan.channels_in for plan in plans] == [(48, 48), (48, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 256)]
    assert [plan.is_reduction for plan in plans] == [layer in (2, 5) for layer in range(8)]
    assert [plan.follows_reduction for plan in plans] == [layer in (3, 6) for layer in range(8)]
    assert [plan.cell_type for plan in plans[:3]] == ["normal", "normal", "reduce"]


def test_widths_follow_what_each_cell_type_concatenates():
    plans = list(plan_cells(4, [False, True, True], stem="imagenet", width={"normal": 3, "reduce": 2}))
    assert [plan.channels_in for plan in plans] == [(4, 4), (4, 12), (12, 16)]
    assert plans[0].follows_reduction, "the second input of the ImageNet stem is half as large as the first"


@pytest.mark.parametrize("size", [1, 8, 9, 15, 32, 33])
def test_stems_keep_or_reduce_the_resolution(size):
    x = torch.randn(2, 3, size, size + 1)
    s0, s1 = build_stem("cifar", 3, 5)(x)
    assert s0 is s1
    assert s0.shape == (2, 15, size, size + 1)
    s0, s1 = build_stem("imagenet", 3, 5)(x)

    def shrunk(side, by):
        return -(-side // by)

    assert s0.shape == (2, 5, shrunk(size, 4), shrunk(size + 1, 4))
    assert s1.shape == (2, 5, shrunk(size, 8), shrunk(size + 1, 8))


def head(stem="cifar", channels=3):
    torch.manual_seed(0)
    return AuxiliaryHead(channels, 10, stem=stem)


def window_output(x, *, stem="cifar"):
    """What the head's window makes of ``x``: the input of its first convolution."""
    module, seen = head(stem, x.shape[1]), []
    module.conv1.register_forward_pre_hook(lambda conv, inputs: seen.append(inputs[0]))
    module(x)
    return seen[0]


@pytest.mark.parametrize(("stem", "size", "stride"), [("cifar", 8, 3), ("imagenet", 7, 2)])
def test_the_heads_window_is_the_references(stem, size, stride):
    x = torch.randn(4, 3, size, size)
    expected = nn.AvgPool2d(5, stride=stride, padding=0, count_include_pad=False)(F.relu(x))
    assert torch.equal(window_output(x, stem=stem), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (2, 9), (3, 3), (4, 4), (5, 8), (6, 7), (16, 16), (56, 55)])
def test_the_head_takes_any_size_and_sees_every_pixel(shape):
    x = torch.rand(2, 3, *shape, requires_grad=True)
    out = window_output(x + 0.1)
    assert out.shape == (2, 3, 2, 2)
    out.sum().backward()
    assert (x.grad > 0).all()


def test_the_imagenet_head_has_no_second_batch_norm():
    """The reference left it out, and the published parameter counts say so."""
    cifar, imagenet = (sum(p.numel() for p in head(stem).parameters()) for stem in ("cifar", "imagenet"))
    assert cifar - imagenet == 2 * 768


def test_pooled_is_the_mean_over_pixels():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
