"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009)."""

from __future__ import annotations

from typing import Any

from darts_core.data.dataset import DATASETS, Collected, Dataset, Request
from darts_core.data.spec import AugmentPolicy
from darts_core.data.torchvision_source import collect_torchvision

# The reference's training transforms (quark0/darts, cnn/utils.py and the defaults of cnn/train.py).
_AUGMENT = AugmentPolicy(crop_padding=4, flip=True, cutout_length=16)


@DATASETS.register("cifar10")
def cifar10(*, root: str = "data/raw") -> Dataset:
    """CIFAR-10: 60,000 colour 32x32 images in 10 classes; downloaded to ``root`` (170 MB) and verified."""
    return _cifar("cifar10", root=root)


@DATASETS.register("cifar100")
def cifar100(*, root: str = "data/raw") -> Dataset:
    """CIFAR-100: 60,000 colour 32x32 images in 100 classes; downloaded to ``root`` (169 MB) and verified."""
    return _cifar("cifar100", root=root)


def _cifar(name: str, *, root: str) -> Dataset:
    def collect(request: Request) -> Collected:
        from torchvision import datasets

        source: Any = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        return collect_torchvision(
            name,
            lambda is_train: source(root, train=is_train, download=True),
            root=root,
            pixels_of=lambda half: half.data.transpose(0, 3, 1, 2),
            labels_of=lambda half: half.targets,
            class_names=lambda half: half.classes,
            augment=_AUGMENT,
        )

    return collect
