"""A few small images that can be learnt, and the search and the retraining on them as the pipeline builds them."""

from __future__ import annotations

import numpy as np
import pytest

from darts_core.data import Images


@pytest.fixture(scope="session")
def images() -> Images:
    """30 grey images of 8x8 pixels in 3 classes, each brighter in another third."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    pixels = rng.integers(0, 120, (30, 1, 8, 8), dtype=np.uint8)
    for k in range(3):
        pixels[labels == k, :, :, 3 * k : 3 * k + 2] += 120
    return Images.from_arrays(pixels, labels)
