"""Dropout on skip connections, so that they do not win for being easy to train (P-DARTS, arXiv:1904.12760, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from darts_core.supernet.sampled import Drawing

Dropout = tuple[float, int]
"""The rate, and what the masks of a forward pass are drawn from."""


class DroppedSkip(nn.Module):
    """The state as it is, but for a share ``rate`` of its values, which are 0; the others are scaled up (B, C, H, W) -> (B, C, H, W).

    The mask is a function of ``seed``, so that a cell which is computed again for its gradient sees the same one, and the same in every
    layout and precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.seed = 0.0, 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the state, as it is where the rate is 0."""
        if self.rate == 0.0 or x.is_meta:
            return x
        generator = torch.Generator(device=x.device).manual_seed(self.seed)
        kept = torch.rand(x.shape, device=x.device, generator=generator) >= self.rate
        return x * (kept.to(x.dtype) / (1.0 - self.rate))


class SkipDropout(Drawing):
    """The rate of all skip connections of a supernet, set by the search, and the random numbers of its masks."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def draw(self) -> Dropout:
        """Return what the cells of this forward pass need: nothing is left out in evaluation mode."""
        return (self.rate, self.seed() % 2**48) if self.training and self.rate > 0.0 else (0.0, 0)


@contextmanager
def whole_skips(supernet: nn.Module) -> Iterator[None]:
    """Within, skip connections leave nothing out and draw nothing: what is measured has no noise, and no later step knows of it."""
    own = [(module, module.rate) for module in supernet.modules() if isinstance(module, SkipDropout)]
    for module, _ in own:
        module.rate = 0.0
    try:
        yield
    finally:
        for module, rate in own:
            module.rate = rate
