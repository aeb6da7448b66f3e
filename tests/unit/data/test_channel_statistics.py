from __future__ import annotations

import logging

import numpy as np
import pytest

from darts_core.data.statistics import channel_sums, file_hash, mean_and_std, pixel_hash

PIXELS = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 5), dtype=np.uint8)
LABELS = np.arange(2500) % 2


def test_mean_and_deviation_equal_numpys() -> None:
    mean, std = mean_and_std(*channel_sums(PIXELS), pixels_per_image=20)
    scaled = PIXELS.astype(np.float64) / 255.0
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)


def test_white_images_do_not_overflow() -> None:
    sums, squares = channel_sums(np.full((3, 1, 300, 300), 255, dtype=np.uint8))
    assert sums.tolist() == [[255 * 90000]] * 3
    assert squares.tolist() == [[255 * 255 * 90000]] * 3


def test_a_constant_channel_is_not_divided_by_zero(caplog: pytest.LogCaptureFixture) -> None:
    pixels = PIXELS.copy()
    pixels[:, 1] = 7
    with caplog.at_level(logging.WARNING):
        mean, std = mean_and_std(*channel_sums(pixels), pixels_per_image=20)
    assert (mean[1], std[1]) == (7 / 255, 1.0)
    assert "channel 1 has the same value" in caplog.text


@pytest.mark.parametrize("change", ["pixel", "label", "name", "part", "order"])
def test_the_hash_sees_every_change(change: str) -> None:
    def hashed(pixels: np.ndarray = PIXELS, labels: np.ndarray = LABELS, names: str = "ab", part: str = "train") -> str:
        return pixel_hash(pixels, labels, class_names=list(names), parts=[part] * len(labels))

    other = PIXELS.copy()
    other[1234, 2, 3, 4] ^= 1
    changed = {
        "pixel": lambda: hashed(pixels=other),
        "label": lambda: hashed(labels=1 - LABELS),
        "name": lambda: hashed(names="ac"),
        "part": lambda: hashed(part="test"),
        "order": lambda: hashed(pixels=PIXELS[::-1]),
    }
    assert hashed() == hashed(pixels=PIXELS.copy())
    assert changed[change]() != hashed()


def test_the_hash_of_files_sees_how_they_are_decoded() -> None:
    def hashed(size: int, digest: bytes = b"1") -> str:
        return file_hash([digest], LABELS[:1], class_names=["a"], parts=[""], form=(3, size, "crop"))

    assert len({hashed(32), hashed(64), hashed(32, b"2")}) == 3
