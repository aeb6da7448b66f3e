"""3x3 pools of stride 1 with their BatchNorm, and the gradients: pure functions that a compiler can take in whole.

Beside the library's pools, channels last on the CPU, what a compiler makes of them takes a quarter of the time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.ops.normalise import moments_of, normalised, pixel_sum, through_bn


def max_forward(eps: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised pool (B, C, H, W), its moments (2, C), and which of the nine pixels was the first largest, as numbers."""
    first, *others = _windows(x.permute(0, 2, 3, 1), float("-inf"))
    largest, place = first, torch.zeros_like(first)  # of the precision of x: a compiler makes no vectors of mixed ones
    for number, pixel in enumerate(others, start=1):
        place = torch.where(pixel > largest, float(number), place)
        largest = torch.maximum(largest, pixel)
    moments = moments_of(largest)
    return normalised(largest, moments, eps).permute(0, 3, 1, 2), moments, place.permute(0, 3, 1, 2)


def max_backward(eps: float, grad: Tensor, xhat: Tensor, moments: Tensor, place: Tensor) -> Tensor:
    """Return the gradient of the state from that of the normalised pool; the others are what :func:`max_forward` returned."""
    grads = _windows(_before_bn(eps, grad, xhat, moments), 0.0)
    places = _windows(place.permute(0, 2, 3, 1), -1.0)
    parts = [torch.where(places[8 - number] == float(number), grads[8 - number], 0.0) for number in range(9)]
    return sum(parts[1:], start=parts[0]).permute(0, 3, 1, 2)


def mean_forward(eps: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the normalised pool (B, C, H, W), the mean of the pixels that are there, and its moments (2, C)."""
    pooled = _window_sum(x.permute(0, 2, 3, 1)) * _shares(x)
    moments = moments_of(pooled)
    return normalised(pooled, moments, eps).permute(0, 3, 1, 2), moments


def mean_backward(eps: float, grad: Tensor, xhat: Tensor, moments: Tensor) -> Tensor:
    """Return the gradient of the state from that of the normalised pool; the others are what :func:`mean_forward` returned."""
    return _window_sum(_before_bn(eps, grad, xhat, moments) * _shares(grad)).permute(0, 3, 1, 2)


def _before_bn(eps: float, grad: Tensor, xhat: Tensor, moments: Tensor) -> Tensor:
    g, x = grad.permute(0, 2, 3, 1), xhat.permute(0, 2, 3, 1)
    return through_bn(g, x, moments[1], eps, pixel_sum(g), pixel_sum(g * x))


def _windows(x_BHWC: Tensor, fill: float) -> list[Tensor]:
    """Return the nine neighbours of each pixel, row by row, ``fill`` beyond the edge; as views, so that the edge is written once."""
    padded = F.pad(x_BHWC, (0, 0, 1, 1, 1, 1), value=fill)
    _, row, column, _ = strides = padded.stride()
    return [padded.as_strided(x_BHWC.shape, strides, i * row + j * column) for i in range(3) for j in range(3)]


def _window_sum(x_BHWC: Tensor) -> Tensor:
    first, *others = _windows(x_BHWC, 0.0)
    return sum(others, start=first)


def _shares(x_BCHW: Tensor) -> Tensor:
    """Return one over the number of pixels in each window, (H, W, 1)."""
    sides = [torch.full((side,), 3.0, dtype=x_BCHW.dtype, device=x_BCHW.device) for side in x_BCHW.shape[2:]]
    rows, columns = (F.pad(side[2:], (1, 1), value=2.0) if len(side) > 1 else side - 2.0 for side in sides)
    return 1.0 / (rows[:, None] * columns[None]).unsqueeze(2)
