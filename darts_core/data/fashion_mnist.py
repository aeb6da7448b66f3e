"""Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747)."""

from __future__ import annotations

from darts_core.data.dataset import DATASETS, Collected, Dataset, Request
from darts_core.data.spec import AugmentPolicy
from darts_core.data.torchvision_source import collect_torchvision


@DATASETS.register("fashion_mnist")
def fashion_mnist(*, root: str = "data/raw") -> Dataset:
    """Fashion-MNIST: 70,000 grey 28x28 images of clothes in 10 classes; downloaded to ``root`` (31 MB) and verified."""

    def collect(request: Request) -> Collected:
        from torchvision.datasets import FashionMNIST

        return collect_torchvision(
            "fashion_mnist",
            lambda is_train: FashionMNIST(root, train=is_train, download=True),
            root=root,
            pixels_of=lambda half: half.data.numpy()[:, None],
            labels_of=lambda half: half.targets,
            class_names=lambda half: half.classes,
            # Clothes have a left and a right sleeve; the shift is smaller than CIFAR's because they fill the frame.
            augment=AugmentPolicy(crop_padding=3, flip=True, cutout_length=14),
        )

    return collect
