"""BatchNorm without affine parameters and its gradient, channels last, (B, H, W, C): sums and products that a compiler fuses."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_sum(x_BHWC: Tensor) -> Tensor:
    """Return the sum over batch and pixels, (C,): image by image, so that a compiler keeps it in registers."""
    return x_BHWC.sum((1, 2)).sum(0)


def moments_of(x_BHWC: Tensor) -> Tensor:
    """Return mean and biased variance (2, C) in one pass, about the mean of the first image, so that little cancels."""
    pixels = x_BHWC.shape[0] * x_BHWC.shape[1] * x_BHWC.shape[2]
    about = x_BHWC[0].mean((0, 1))
    shifted = x_BHWC - about
    mean, square = pixel_sum(shifted) / pixels, pixel_sum(shifted * shifted) / pixels
    return torch.stack([mean + about, (square - mean * mean).clamp_min(0.0)])


def normalised(x_BHWC: Tensor, moments: Tensor, eps: float) -> Tensor:
    """Return ``x`` with mean 0 and variance 1; ``moments`` are those of :func:`moments_of`."""
    mean, variance = moments.unbind()
    return (x_BHWC - mean) * torch.rsqrt(variance + eps)


def through_bn(g_BHWC: Tensor, xhat: Tensor, variance: Tensor, eps: float, sum_g: Tensor, product: Tensor) -> Tensor:
    """Return the gradient of what a BatchNorm read from that of its output ``xhat``, whose sums alone and times ``xhat`` are given."""
    pixels = g_BHWC.shape[0] * g_BHWC.shape[1] * g_BHWC.shape[2]
    return torch.rsqrt(variance + eps) * (g_BHWC - (sum_g + xhat * product) / pixels)
