"""The hand-made networks that a searched one is compared with, by name.

Each takes images of any size from 8x8, odd sizes too, and lowers its resolution as ``image_size`` (the shorter side, pixels) allows.
"""

from __future__ import annotations

from torch import nn

from darts_core.nets.mobilenet_v2 import MobileNetV2
from darts_core.nets.resnet import ResNet20
from darts_core.registry import Registry

BASELINES: Registry[nn.Module] = Registry("baseline", key="retrain.baselines")

MIN_IMAGE_SIZE = 8
LARGE_IMAGE_SIZE = 96  # from here on, the networks' ImageNet form


@BASELINES.register("resnet20")
def resnet20(*, in_channels: int, num_classes: int, image_size: int) -> ResNet20:
    """ResNet-20 (He et al. 2015, arXiv:1512.03385), 0.27 M parameters; from 96 pixels with the ImageNet stem."""
    _check(in_channels, num_classes, image_size)
    return ResNet20(in_channels=in_channels, num_classes=num_classes, large_images=image_size >= LARGE_IMAGE_SIZE)


@BASELINES.register("mobilenet_v2")
def mobilenet_v2(*, in_channels: int, num_classes: int, image_size: int) -> MobileNetV2:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), 2.24 M parameters; strides by image size.

    Halvings of the resolution: 3 below 48 pixels (usual on CIFAR), 4 from there, and all 5 of the paper from 96.
    """
    _check(in_channels, num_classes, image_size)
    halvings = 5 if image_size >= LARGE_IMAGE_SIZE else 4 if image_size >= 48 else 3
    return MobileNetV2(in_channels=in_channels, num_classes=num_classes, halvings=halvings)


def _check(in_channels: int, num_classes: int, image_size: int) -> None:
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"retrain.baselines: the baselines need images of at least {MIN_IMAGE_SIZE} pixels a side. Got {image_size}. Prepare larger "
            "ones (data.image_size), or set retrain.baselines to []."
        )
    if in_channels < 1 or num_classes < 1:
        raise ValueError(f"data: expected at least one channel and one class. Got {in_channels} and {num_classes}.")
