"""scikit-learn's handwritten digits: 1,797 real 8x8 images that need no download."""

from __future__ import annotations

import numpy as np

from darts_core.data.dataset import DATASETS, Collected, Dataset, Request, check_fraction, collect_arrays
from darts_core.data.spec import AugmentPolicy


@DATASETS.register("digits")
def digits(*, test_fraction: float = 0.2) -> Dataset:
    """Handwritten digits, 1,797 grey 8x8 images in 10 classes, from scikit-learn; no download.

    The source's 17 grey levels are spread over 0..255. It has no test split: ``test_fraction`` of it becomes one, stratified.
    """
    check_fraction(test_fraction, key="data.test_fraction")

    def collect(request: Request) -> Collected:
        from sklearn.datasets import load_digits

        source = load_digits()
        pixels = np.rint(source.images * (255.0 / 16.0)).astype(np.uint8)[:, None]
        return collect_arrays(
            pixels,
            source.target.astype(np.int64),
            class_names=[str(digit) for digit in range(10)],
            parts=[""] * len(pixels),
            names=[f"digits/{i:04d}" for i in range(len(pixels))],
            # A mirrored digit is another shape, and at 8x8 a shift of two pixels cuts strokes off. People write at a slant.
            augment=AugmentPolicy(crop_padding=1, flip=False, cutout_length=2, rotation=10.0, zoom=0.1),
            test_fraction=test_fraction,
        )

    return collect
