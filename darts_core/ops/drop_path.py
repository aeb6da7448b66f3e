"""Drop path: a whole edge is left out for some images of a batch (Larsson et al., arXiv:1605.07648)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class DropPath:
    """Multiply each image by 0 with probability ``prob``, else by ``1 / (1 - prob)``.

    ``prob`` is in [0, 1) and changes from epoch to epoch. Masks are drawn on the CPU from ``generator``, so that every device starts alike.
    """

    generator: torch.Generator
    prob: float = 0.0

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return ``x_BCHW`` with one mask value an image; at probability 0 it is returned as it is and nothing is drawn."""
        if self.prob == 0.0:
            return x_BCHW
        keep = 1.0 - self.prob
        kept_B = torch.rand(x_BCHW.shape[0], generator=self.generator) < keep
        scale_B = kept_B.to(device=x_BCHW.device, dtype=x_BCHW.dtype) / keep
        return x_BCHW * scale_B.view(-1, 1, 1, 1)
