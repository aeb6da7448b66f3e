import pytest
import torch
import torchvision
from torch import nn

from darts_core.metrics import count_macs, count_parameters
from darts_core.nets.baselines import BASELINES
from darts_core.nets.mobilenet_v2 import MobileNetV2
from darts_core.nets.resnet import BasicBlock, ResNet20


def build(name, *, in_channels=3, num_classes=10, image_size=32):
    return BASELINES.build(name, {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size})


def macs_by_hooks(network, x):
    """The slow truth: a hook on every convolution and linear layer."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        total += output.numel() * (module.weight[0].numel())

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return total


def last_map(network, x):
    """The spatial size of what is averaged before the classifier."""
    sizes = []
    module = network.blocks if isinstance(network, ResNet20) else network.layers
    hook = module.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    with torch.no_grad():
        network.eval()(x)
    hook.remove()
    return sizes[0]


@pytest.mark.parametrize("name", BASELINES.names())
class TestEveryBaseline:
    @pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (4, 33, 32), (3, 97, 101)])
    def test_takes_any_size_and_channels_and_gives_every_weight_a_gradient(self, name, shape):
        torch.manual_seed(0)
        network = build(name, in_channels=shape[0], num_classes=7, image_size=min(shape[1:]))
        logits = network(torch.randn(3, *shape))
        assert logits.shape == (3, 7)
        logits.logsumexp(1).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    @pytest.mark.parametrize("size", [8, 15, 16, 47, 48, 95, 96])
    def test_last_feature_map_is_neither_gone_nor_large(self, name, size):
        height, width = last_map(build(name, image_size=size), torch.zeros(1, 3, size, size))
        assert height == width
        assert 1 <= height <= 24

    def test_macs_equal_the_hooks(self, name):
        network = build(name, image_size=17)
        assert count_macs(network, input_shape=(3, 17, 19)) == macs_by_hooks(network, torch.zeros(1, 3, 17, 19))

    def test_same_seed_same_weights(self, name):
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(build(name).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])

    def test_starts_with_activations_of_sensible_scale(self, name):
        torch.manual_seed(0)
        logits = build(name)(torch.randn(16, 3, 32, 32))
        assert 0.01 < logits.std() < 10.0

    def test_learns(self, name):
        torch.manual_seed(0)
        network = build(name, in_channels=1, num_classes=2, image_size=8)
        label = torch.arange(16) % 2
        x = torch.randn(16, 1, 8, 8) + label[:, None, None, None]
        optimizer = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]

    def test_refuses_images_that_are_too_small(self, name):
        with pytest.raises(ValueError, match=r"^retrain\.baselines: .* at least 8 pixels a side\. Got 7\..*data\.image_size.* to \[\]"):
            build(name, image_size=7)
        with pytest.raises(ValueError, match="at least one channel"):
            build(name, in_channels=0)


def test_unknown_baseline_is_named():
    with pytest.raises(ValueError, match=r"retrain.baselines.*'resnet2'.*did you mean 'resnet20'"):
        build("resnet2")


def test_resnet20_has_the_papers_parameters():
    network = build("resnet20")
    # He et al. 2015, table 6: 0.27 M.
    assert count_parameters(network) == 269_722
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == 20
    assert count_macs(network, input_shape=(3, 32, 32)) == 40_551_040


def test_shortcut_of_option_a_drops_pixels_and_pads_channels():
    block = BasicBlock(2, 5, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 2, 5, 7)
    with torch.no_grad():
        out = block(x)
    assert out.shape == (1, 5, 3, 4)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert (out[:, 2:] == 0).all()


def test_resnet20_starts_at_a_quarter_of_the_resolution_on_large_images():
    assert last_map(build("resnet20", image_size=224), torch.zeros(1, 3, 224, 224)) == (14, 14)
    assert last_map(build("resnet20", image_size=95), torch.zeros(1, 3, 95, 95)) == (24, 24)


def test_mobilenet_v2_equals_torchvision_in_shape_and_function():
    theirs = torchvision.models.mobilenet_v2(num_classes=10)
    network = build("mobilenet_v2", image_size=224)
    assert count_parameters(network) == count_parameters(theirs) == 2_236_682
    assert count_macs(network, input_shape=(3, 224, 224)) == count_macs(theirs, input_shape=(3, 224, 224))
    # Both register their layers in the order of the computation, so the weights map one to one.
    pairs = list(zip(network.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    network.load_state_dict(dict(zip(network.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(network.eval()(x), theirs.eval()(x), atol=1e-5)


@pytest.mark.parametrize(("size", "expected"), [(8, 1), (16, 2), (32, 4), (64, 4), (96, 3), (224, 7)])
def test_mobilenet_v2_halves_as_the_size_allows(size, expected):
    assert last_map(build("mobilenet_v2", image_size=size), torch.zeros(1, 3, size, size)) == (expected, expected)


def test_mobilenet_v2_refuses_more_halvings_than_it_has():
    with pytest.raises(ValueError, match=r"0\.\.5. Got 6"):
        MobileNetV2(in_channels=3, num_classes=10, halvings=6)
