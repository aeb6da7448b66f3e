"""The batched augmentation against a twin that does what the reference does: one image at a time, step after step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from darts_core.config import AugmentConfig
from darts_core.data import AugmentPolicy, Batches, DataSpec, Images, resolve_policy
from darts_core.data.augment import Draws, crop_and_flip, cutout, draw, normalise, turn_and_zoom


def one_image(image: np.ndarray, policy: AugmentPolicy, draws: Draws, k: int, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """RandomCrop with padding, RandomHorizontalFlip, ToTensor, Normalize, Cutout for image ``k`` of a batch."""
    _, height, width = image.shape
    if policy.crop_padding:
        p = policy.crop_padding
        padded = np.zeros((image.shape[0], height + 2 * p, width + 2 * p), dtype=np.uint8)
        padded[:, p : p + height, p : p + width] = image
        top, left = int(draws.top[k]), int(draws.left[k])
        image = padded[:, top : top + height, left : left + width]
    if policy.flip and draws.mirrored[k]:
        image = image[:, :, ::-1]
    out = (image.astype(np.float32) / np.float32(255.0) - mean) / std
    if policy.cutout_length:
        y, x = int(draws.centre_y[k]), int(draws.centre_x[k])
        y1, y2 = (int(np.clip(y + d, 0, height)) for d in (-(policy.cutout_length // 2), policy.cutout_length // 2))
        x1, x2 = (int(np.clip(x + d, 0, width)) for d in (-(policy.cutout_length // 2), policy.cutout_length // 2))
        mask = np.ones((height, width), np.float32)
        mask[y1:y2, x1:x2] = 0.0
        out = out * mask
    return out


POLICIES = [AugmentPolicy(*parts) for parts in itertools.product((0, 1, 4), (False, True), (0, 2, 5, 6))]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 11)])
def test_batches_equal_the_slow_twin(policy: AugmentPolicy, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, *shape), dtype=np.uint8)
    images = Images.from_arrays(pixels, torch.arange(37) % 5)
    batches = Batches(images, 16, shuffle=True, policy=policy, generator=torch.Generator().manual_seed(3))
    twin = torch.Generator().manual_seed(3)
    order = torch.randperm(37, generator=twin)
    mean, std = (np.array(value, dtype=np.float32)[:, None, None] for value in (images.spec.mean, images.spec.std))
    seen = 0
    for x, y in batches:
        index = order[seen : seen + 16]
        draws = draw(policy, len(index), height=shape[1], width=shape[2], generator=twin)
        expected = np.stack([one_image(pixels[i], policy, draws, k, mean, std) for k, i in enumerate(index.tolist())])
        np.testing.assert_array_equal(x.numpy(), expected)
        assert torch.equal(y, index % 5)
        seen += len(index)
    assert seen == 37


def test_normalising_equals_torchvisions() -> None:
    from torchvision.transforms.functional import normalize, to_tensor

    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    expected = normalize(to_tensor(image), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    mean, std = torch.tensor((0.4914, 0.4822, 0.4465))[:, None, None], torch.tensor((0.2470, 0.2435, 0.2616))[:, None, None]
    assert torch.equal(normalise(torch.from_numpy(image).permute(2, 0, 1)[None], mean, std)[0], expected)


def test_the_border_is_black_before_normalising() -> None:
    """A shifted-in border is the value 0 (black), not 0 after normalising (the mean colour)."""
    images = Images.from_arrays(np.full((4, 1, 4, 4), 200, dtype=np.uint8), [0, 1, 0, 1])
    draws = Draws(top=torch.tensor([0, 2, 1, 1]), left=torch.tensor([1, 1, 0, 1]))
    out = crop_and_flip(images.gather(torch.arange(4)), draws, padding=1)
    assert (out[0, 0, 0] == 0).all()
    assert (out[0, 0, 1:] == 200).all()
    assert (out[1, 0, 3] == 0).all()
    assert (out[2, 0, :, 0] == 0).all()
    assert (out[3] == 200).all()


def test_cutout_is_cut_off_at_the_border_and_odd_lengths_round_down() -> None:
    draws = Draws(centre_y=torch.tensor([0, 4]), centre_x=torch.tensor([7, 4]))
    out = cutout(torch.ones(2, 1, 8, 8), draws, length=5)
    assert out[0, 0].eq(0).sum() == 2 * 3
    assert (out[0, 0, :2, 5:] == 0).all()
    assert out[1, 0].eq(0).sum() == 4 * 4
    assert (out[1, 0, 2:6, 2:6] == 0).all()


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (20, 7)])
def test_turning_and_zooming_equal_torchvisions_affine(size: tuple[int, int]) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import affine

    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (4, 3, *size), dtype=np.uint8))
    degrees, factors = (0.0, 10.0, -25.0, 90.0), (1.0, 1.2, 0.8, 1.1)
    factor = torch.tensor(factors)
    out = turn_and_zoom(images, Draws(angle=torch.tensor(degrees).deg2rad(), width_factor=factor, height_factor=factor))
    for image, ours, angle, scale in zip(images, out, degrees, factors):
        expected = affine(image.float(), angle, [0, 0], scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR)
        torch.testing.assert_close(ours, expected, rtol=0, atol=2e-3)
    assert torch.equal(out[0].round().byte(), images[0])


def test_width_and_height_are_stretched_apart() -> None:
    square = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    square[:, :, 4:12, 4:12] = 255
    draws = Draws(width_factor=torch.tensor([2.0, 1.0]), height_factor=torch.tensor([1.0, 0.5]))
    wide, flat = (out[0] > 127 for out in turn_and_zoom(square, draws))
    assert (wide.any(0).sum(), wide.any(1).sum()) == (16, 8)
    assert (flat.any(0).sum(), flat.any(1).sum()) == (8, 4)


def test_angles_and_factors_cover_their_ranges_evenly() -> None:
    draws = draw(AugmentPolicy(rotation=10.0, zoom=0.25), 20000, height=8, width=8, generator=torch.Generator().manual_seed(0))
    for value, largest in ((draws.angle.rad2deg(), 10.0), (draws.width_factor.log(), 0.2231), (draws.height_factor.log(), 0.2231)):
        shares = torch.histc(value, 5, -largest, largest) / 20000
        assert shares.sum() > 0.999
        assert (shares - 0.2).abs().max() < 0.02
    assert not torch.equal(draws.width_factor, draws.height_factor)


def test_rotation_and_zoom_reach_the_batches() -> None:
    images = Images.from_arrays(np.random.default_rng(3).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8), [0, 1] * 4)
    policy = AugmentPolicy(1, True, 2, rotation=10.0, zoom=0.1)
    ((x, _),) = Batches(images, 8, shuffle=False, policy=policy, generator=torch.Generator().manual_seed(0))
    draws = draw(policy, 8, height=8, width=8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(value)[:, None, None] for value in (images.spec.mean, images.spec.std))
    turned = turn_and_zoom(crop_and_flip(images.gather(torch.arange(8)), draws, padding=1), draws)
    assert torch.equal(x, cutout(normalise(turned, mean, std), draws, length=2))


def test_draws_cover_their_ranges_evenly() -> None:
    draws = draw(AugmentPolicy(2, True, 4), 20000, height=3, width=5, generator=torch.Generator().manual_seed(0))
    for value, size in ((draws.top, 5), (draws.left, 5), (draws.centre_y, 3), (draws.centre_x, 5), (draws.mirrored.long(), 2)):
        shares = torch.bincount(value, minlength=size) / 20000
        assert len(shares) == size
        assert (shares - 1 / size).abs().max() < 0.02


SPEC = DataSpec("toy", ("a", "b"), 1, 8, 10, (0.5,), (0.5,), AugmentPolicy(1, True, 4), "x")


def test_null_takes_the_data_sets_own_policy() -> None:
    assert resolve_policy(SPEC, AugmentConfig(), cutout=True) == SPEC.augment
    assert resolve_policy(SPEC, AugmentConfig(), cutout=False) == AugmentPolicy(1, True, 0)


def test_what_is_set_replaces_the_default() -> None:
    cfg = AugmentConfig(crop_padding=0, flip=False, cutout_length=2, rotation=5.0, zoom=0.5)
    assert resolve_policy(SPEC, cfg, cutout=True) == AugmentPolicy(0, False, 2, 5.0, 0.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [("crop_padding", 8), ("cutout_length", 1), ("cutout_length", 9)],
)
def test_lengths_that_leave_nothing_or_do_nothing(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"augment\.{key} must .* Got {value}\."):
        resolve_policy(SPEC, AugmentConfig(**{key: value}), cutout=True)


def test_the_layout_of_the_images_changes_no_crop() -> None:
    """Images that a worker decoded lie channels last."""
    images = torch.randint(0, 256, (6, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    draws = draw(AugmentPolicy(2, True, 0), 6, height=9, width=7, generator=torch.Generator().manual_seed(1))
    layouts = torch.contiguous_format, torch.channels_last
    expected, found = (crop_and_flip(images.contiguous(memory_format=layout), draws, padding=2) for layout in layouts)
    assert torch.equal(found, expected)


def test_no_images_are_no_error() -> None:
    draws = draw(AugmentPolicy(2, True, 0), 0, height=9, width=7, generator=torch.Generator().manual_seed(1))
    assert crop_and_flip(torch.empty(0, 3, 9, 7), draws, padding=2).shape == (0, 3, 9, 7)
