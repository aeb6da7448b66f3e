"""ResNet-20 for small images: He et al., "Deep residual learning for image recognition", 2015 (arXiv:1512.03385), section 4.2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.nets.initialise import kaiming_
from darts_core.nets.skeleton import pooled

STAGE_CHANNELS = (16, 32, 64)
BLOCKS_PER_STAGE = 3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights (option A): (B, C_in, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(h + x)


class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels: images (B, C_in, H, W) -> logits (B, K).

    ``large_images`` starts with the ImageNet stem of the same paper (7x7 convolution and pooling, a quarter of the resolution), because
    the paper's own stem keeps the full resolution, at 224 pixels 49 times the work and memory of 32.
    """

    def __init__(self, *, in_channels: int, num_classes: int, large_images: bool = False) -> None:
        super().__init__()
        channels = STAGE_CHANNELS[0]
        size, stride, padding = (7, 2, 3) if large_images else (3, 1, 1)
        self.conv = nn.Conv2d(in_channels, channels, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if large_images else nn.Identity()
        blocks = []
        for stage, out_channels in enumerate(STAGE_CHANNELS):
            for k in range(BLOCKS_PER_STAGE):
                blocks.append(BasicBlock(channels, out_channels, stride=2 if stage > 0 and k == 0 else 1))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.pool(F.relu(self.bn(self.conv(x))))
        logits: Tensor = self.classifier(pooled(self.blocks(x)))
        return logits
