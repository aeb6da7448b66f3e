"""Crop, flip, normalise and cutout of whole batches, with the semantics of the reference's per-image transforms.

Source of order and meaning: quark0/darts, cnn/utils.py (``_data_transforms_cifar10``, ``Cutout``): zeros are padded around raw
pixels before normalising; cutout blanks to 0 after it, that is to the mean colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.config import AugmentConfig
from darts_core.data.spec import AugmentPolicy, DataSpec


def resolve_policy(spec: DataSpec, cfg: AugmentConfig, *, cutout: bool) -> AugmentPolicy:
    """Return the data set's own policy with what ``cfg`` sets in its place; without ``cutout`` its length is 0.

    Raise ``ValueError`` for lengths that would leave nothing of an image, or that have no effect.
    """
    own, side = spec.augment, min(spec.height, spec.width)
    padding = own.crop_padding if cfg.crop_padding is None else cfg.crop_padding
    length = own.cutout_length if cfg.cutout_length is None else cfg.cutout_length
    if padding >= side:
        raise ValueError(f"augment.crop_padding must be smaller than the images' shorter side ({side}). Got {padding}.")
    if length == 1 or length > side:
        raise ValueError(f"augment.cutout_length must be 0 (off) or between 2 and the images' shorter side ({side}). Got {length}.")
    return AugmentPolicy(
        crop_padding=padding,
        flip=own.flip if cfg.flip is None else cfg.flip,
        cutout_length=length if cutout else 0,
    )


@dataclass(frozen=True)
class Draws:
    """The random choices for one batch, (B,) each: crop corner, mirrored or not, centre of the cutout; None where switched off."""

    top: Tensor | None = None
    left: Tensor | None = None
    mirrored: Tensor | None = None
    centre_y: Tensor | None = None
    centre_x: Tensor | None = None


def draw(policy: AugmentPolicy, batch: int, *, height: int, width: int, generator: torch.Generator) -> Draws:
    """Draw for ``batch`` images of ``height`` x ``width`` from a CPU generator, in the order of the fields of :class:`Draws`."""
    top = left = mirrored = centre_y = centre_x = None
    if policy.crop_padding:
        top = torch.randint(2 * policy.crop_padding + 1, (batch,), generator=generator)
        left = torch.randint(2 * policy.crop_padding + 1, (batch,), generator=generator)
    if policy.flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
    if policy.cutout_length:
        centre_y = torch.randint(height, (batch,), generator=generator)
        centre_x = torch.randint(width, (batch,), generator=generator)
    return Draws(top, left, mirrored, centre_y, centre_x)


def to_device(draws: Draws, device: torch.device) -> Draws:
    """Return the same choices on ``device``."""
    moved = {name: None if value is None else value.to(device, non_blocking=True) for name, value in vars(draws).items()}
    return Draws(**moved)


def crop_and_flip(images: Tensor, draws: Draws, *, padding: int) -> Tensor:
    """Return ``images`` (B, C, H, W), each shifted within a border of ``padding`` zeros and mirrored as drawn; dtype is kept."""
    if draws.top is None and draws.mirrored is None:
        return images
    batch, channels, height, width = images.shape
    y = torch.arange(height, device=images.device).expand(batch, height)
    x = torch.arange(width, device=images.device).expand(batch, width)
    if draws.mirrored is not None:
        x = torch.where(draws.mirrored[:, None], width - 1 - x, x)
    if draws.top is not None and draws.left is not None:
        images = F.pad(images, (padding, padding, padding, padding))
        first = torch.arange(batch * channels, device=images.device).view(batch, channels, 1) * images.shape[2]
        rows = first + (draws.top[:, None] + y)[:, None]
        images = images.reshape(-1, images.shape[3]).index_select(0, rows.reshape(-1))
        images = images.view(batch, channels, height, -1)
        x = x + draws.left[:, None]
    return images.gather(3, x[:, None, None].expand(batch, channels, height, width))


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return float32 (value / 255 - mean) / std for uint8 ``images`` (B, C, H, W); ``mean`` and ``std`` are (C, 1, 1)."""
    return images.to(torch.float32).div_(255.0).sub_(mean).div_(std)


def cutout(images: Tensor, draws: Draws, *, length: int) -> Tensor:
    """Blank a square around each centre, cut off at the borders, in place; an odd ``length`` acts as ``length - 1``."""
    if draws.centre_y is None or draws.centre_x is None:
        return images
    half = length // 2

    def inside(centre: Tensor, size: int) -> Tensor:
        offset = torch.arange(size, device=images.device) - centre[:, None]
        return (offset >= -half) & (offset < half)

    blank = inside(draws.centre_y, images.shape[2])[:, :, None] & inside(draws.centre_x, images.shape[3])[:, None, :]
    return images.mul_(blank.logical_not_()[:, None])
