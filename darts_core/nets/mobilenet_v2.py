"""MobileNetV2: Sandler et al., "Inverted residuals and linear bottlenecks", CVPR 2018 (arXiv:1801.04381), table 2, width 1.0."""

from __future__ import annotations

from torch import Tensor, nn

from darts_core.nets.initialise import kaiming_
from darts_core.nets.skeleton import pooled
from darts_core.ops.depthwise import DepthwiseConv2d

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Expansion, output channels, blocks, and whether the paper halves the resolution in the stage's first block.
STAGES = (
    (1, 16, 1, False),
    (6, 24, 2, True),
    (6, 32, 3, True),
    (6, 64, 4, True),
    (6, 96, 3, False),
    (6, 160, 3, True),
    (6, 320, 1, False),
)
MAX_HALVINGS = 5


def _conv_bn(in_channels: int, channels: int, size: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv: nn.Module
    if groups == in_channels == channels:
        conv = DepthwiseConv2d(channels, size, stride=stride, padding=size // 2)
    else:
        conv = nn.Conv2d(in_channels, channels, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """Widen 1x1, filter each channel 3x3, narrow 1x1 without activation; a shortcut where the shape stays.

    (B, C_in, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        widen = [*_conv_bn(in_channels, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [*_conv_bn(wide, wide, 3, stride=stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*widen, *depthwise, *_conv_bn(wide, channels, 1))
        self.has_shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        h: Tensor = self.layers(x)
        return x + h if self.has_shortcut else h


class MobileNetV2(nn.Module):
    """Stem, 17 inverted residuals, a 1280-channel head: images (B, C_in, H, W) -> logits (B, K).

    The paper halves the resolution five times: in the stem and before the stages of 24, 32, 64 and 160 channels. ``halvings`` keeps the
    last so many of them and leaves the first ones out, so that small images are not gone before the deep layers. No dropout: what
    regularises a network is part of the recipe, which all networks share.
    """

    def __init__(self, *, in_channels: int, num_classes: int, halvings: int = MAX_HALVINGS) -> None:
        super().__init__()
        if not 0 <= halvings <= MAX_HALVINGS:
            raise ValueError(f"halvings must lie in 0..{MAX_HALVINGS}. Got {halvings}.")
        strides = iter([1] * (MAX_HALVINGS - halvings) + [2] * halvings)
        layers = [*_conv_bn(in_channels, STEM_CHANNELS, 3, stride=next(strides)), nn.ReLU6(inplace=True)]
        channels = STEM_CHANNELS
        for expansion, out_channels, num_blocks, is_halved in STAGES:
            stride = next(strides) if is_halved else 1
            for k in range(num_blocks):
                layers.append(InvertedResidual(channels, out_channels, stride=stride if k == 0 else 1, expansion=expansion))
                channels = out_channels
        self.layers = nn.Sequential(*layers, *_conv_bn(channels, HEAD_CHANNELS, 1), nn.ReLU6(inplace=True))
        self.classifier = nn.Linear(HEAD_CHANNELS, num_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(pooled(self.layers(x)))
        return logits
