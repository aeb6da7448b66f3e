"""Crop, flip, rotation and zoom, normalise and cutout of whole batches, with the semantics of per-image transforms.

Source of order and meaning: quark0/darts, cnn/utils.py (``_data_transforms_cifar10``, ``Cutout``): zeros are padded around raw
pixels before normalising; cutout blanks to 0 after it, that is to the mean colour. Rotation and zoom, which the reference has not, come
between the two and fill with black, as torchvision's ``RandomAffine`` does.
"""

from __future__ import annotations

import math
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
        rotation=own.rotation if cfg.rotation is None else cfg.rotation,
        zoom=own.zoom if cfg.zoom is None else cfg.zoom,
    )


@dataclass(frozen=True)
class Draws:
    """The random choices for one batch, (B,) each; None where switched off.

    Crop corner, mirrored or not, angle (radians, clockwise), the factors of width and height, centre of the cutout.
    """

    top: Tensor | None = None
    left: Tensor | None = None
    mirrored: Tensor | None = None
    angle: Tensor | None = None
    width_factor: Tensor | None = None
    height_factor: Tensor | None = None
    centre_y: Tensor | None = None
    centre_x: Tensor | None = None


def draw(policy: AugmentPolicy, batch: int, *, height: int, width: int, generator: torch.Generator) -> Draws:
    """Draw for ``batch`` images of ``height`` x ``width`` from a CPU generator, in the order of the fields of :class:`Draws`."""
    top = left = mirrored = angle = width_factor = height_factor = centre_y = centre_x = None
    if policy.crop_padding:
        top = torch.randint(2 * policy.crop_padding + 1, (batch,), generator=generator)
        left = torch.randint(2 * policy.crop_padding + 1, (batch,), generator=generator)
    if policy.flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
    if policy.rotation:
        angle = math.radians(policy.rotation) * _between_minus_one_and_one(batch, generator)
    if policy.zoom:
        width_factor = (math.log1p(policy.zoom) * _between_minus_one_and_one(batch, generator)).exp()
        height_factor = (math.log1p(policy.zoom) * _between_minus_one_and_one(batch, generator)).exp()
    if policy.cutout_length:
        centre_y = torch.randint(height, (batch,), generator=generator)
        centre_x = torch.randint(width, (batch,), generator=generator)
    return Draws(top, left, mirrored, angle, width_factor, height_factor, centre_y, centre_x)


def _between_minus_one_and_one(batch: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.rand(batch, generator=generator) - 1.0


def to_device(draws: Draws, device: torch.device) -> Draws:
    """Return the same choices on ``device``."""
    moved = {name: None if value is None else value.to(device, non_blocking=True) for name, value in vars(draws).items()}
    return Draws(**moved)


def crop_and_flip(images: Tensor, draws: Draws, *, padding: int) -> Tensor:
    """Return ``images`` (B, C, H, W), each shifted within a border of ``padding`` zeros and mirrored as drawn; dtype is kept.

    A row of the result is a run of pixels of the padded image, or of its mirror image, and is copied as a whole.
    """
    if (draws.top is None and draws.mirrored is None) or not len(images):
        return images
    batch, channels, height, width = images.shape
    number = torch.arange(batch, device=images.device)
    border, top, left = 0, torch.zeros_like(number), torch.zeros_like(number)
    if draws.top is not None and draws.left is not None:
        border, top, left = padding, draws.top, draws.left
    if draws.mirrored is not None:  # the mirror images stand behind the images
        images = torch.cat([images, images.flip(3)])
        number, left = number + batch * draws.mirrored, torch.where(draws.mirrored, 2 * border - left, left)
    images = (F.pad(images, (border, border, border, border)) if border else images).contiguous()  # decoded ones may be channels last
    row = images.shape[3]
    plane = images.shape[2] * row
    channel = torch.arange(0, channels * plane, plane, device=images.device)
    line = torch.arange(0, height * row, row, device=images.device)
    first = number * (channels * plane) + top * row + left
    start = first[:, None] + (channel[:, None] + line).view(-1)
    runs = images.as_strided((images.numel() - width + 1, width), (1, 1))
    return runs.index_select(0, start.view(-1)).view(batch, channels, height, width)


def turn_and_zoom(images: Tensor, draws: Draws) -> Tensor:
    """Return raw ``images`` (B, C, H, W) turned and stretched about their centre as drawn, float32; bilinear, black outside."""
    if draws.angle is None and draws.width_factor is None:
        return images
    batch, _, height, width = images.shape
    one = torch.ones(batch, device=images.device)
    angle = 0.0 * one if draws.angle is None else draws.angle
    wide, tall = (one, one) if draws.width_factor is None or draws.height_factor is None else (draws.width_factor, draws.height_factor)
    cos, sin, zero = angle.cos(), angle.sin(), 0.0 * one
    # From a pixel of the result to one of the source, in coordinates that run from -1 to 1 along each side.
    to_x = torch.stack([cos / wide, sin / wide * (height / width), zero], dim=1)
    to_y = torch.stack([-sin / tall * (width / height), cos / tall, zero], dim=1)
    grid = F.affine_grid(torch.stack([to_x, to_y], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images.to(torch.float32), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return float32 (value / 255 - mean) / std for ``images`` (B, C, H, W) of 0 to 255; ``mean`` and ``std`` are (C, 1, 1)."""
    return images.to(torch.float32, copy=True).div_(255.0).sub_(mean).div_(std)


def cutout(images: Tensor, draws: Draws, *, length: int) -> Tensor:
    """Blank a square around each centre, cut off at the borders, in place; an odd ``length`` acts as ``length - 1``."""
    if draws.centre_y is None or draws.centre_x is None:
        return images
    half = length // 2

    def outside(centre: Tensor, size: int) -> Tensor:
        offset = torch.arange(size, device=images.device) - centre[:, None]
        return ((offset < -half) | (offset >= half)).to(images.dtype)

    # The larger of two floats is found many times faster than "or" of two booleans.
    kept = torch.maximum(outside(draws.centre_y, images.shape[2])[:, :, None], outside(draws.centre_x, images.shape[3])[:, None, :])
    return images.mul_(kept[:, None])
