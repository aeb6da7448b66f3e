"""Street View House Numbers (Netzer et al., 2011)."""

from __future__ import annotations

from darts_core.data.dataset import DATASETS, Collected, Dataset, Request
from darts_core.data.spec import AugmentPolicy
from darts_core.data.torchvision_source import collect_torchvision


@DATASETS.register("svhn")
def svhn(*, root: str = "data/raw") -> Dataset:
    """Street View House Numbers: 99,289 colour 32x32 images of digits; downloaded to ``root`` (246 MB) and verified."""

    def collect(request: Request) -> Collected:
        from torchvision.datasets import SVHN

        return collect_torchvision(
            "svhn",
            lambda is_train: SVHN(root, split="train" if is_train else "test", download=True),
            root=root,
            pixels_of=lambda half: half.data,
            labels_of=lambda half: half.labels,
            class_names=lambda half: [str(digit) for digit in range(10)],
            # As for CIFAR, without the mirror: a mirrored digit is another shape.
            augment=AugmentPolicy(crop_padding=4, flip=False, cutout_length=16),
        )

    return collect
