"""Operations that draw random numbers: dropout and noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from darts_core.ops import OPS
from darts_core.ops.small_pool import strided

DROPPED = 0.2
_STRIDE = 0x9E3779B1  # odd, so that the seeds of 2**32 draws all differ


class Drawn(nn.Module):
    """An operation whose random numbers follow from a seed of its own and from how often :meth:`redraw` was called.

    So all passes of one step see the same numbers: a second order compares passes, and a cell may be computed again. Both are in the
    ``state_dict``. The seed comes from torch's default generator, as weights do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seed = int(torch.randint(2**32, (), device="cpu"))
        self.draws = 0

    def redraw(self) -> None:
        """Take other numbers from now on."""
        self.draws += 1

    def generator(self) -> torch.Generator:
        """Return the generator of the present numbers, on the CPU."""
        return torch.Generator().manual_seed((self.seed + _STRIDE * self.draws) % 2**32)  # of which the generator reads no more bits

    def get_extra_state(self) -> Tensor:
        """Return the seed and the number of draws."""
        return torch.tensor([self.seed, self.draws])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore both."""
        self.seed, self.draws = state.tolist()


def drawn_modules(module: nn.Module) -> Sequence[Drawn]:
    """Return the operations of ``module`` that draw."""
    return [own for own in module.modules() if isinstance(own, Drawn)]


def redraw(modules: Iterable[Drawn]) -> None:
    """Give each of them other numbers: once a training step."""
    for module in modules:
        module.redraw()


class Dropout(Drawn):
    """Zero each value with probability ``DROPPED`` and divide the others by what is left; in evaluation mode the identity."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the values that are left."""
        if not self.training or x.is_meta:
            return x
        kept = torch.rand(x.shape, generator=self.generator(), device="cpu") >= DROPPED
        return x * (kept.to(device=x.device, dtype=x.dtype) / (1.0 - DROPPED))


class Noise(Drawn):
    """Standard normal numbers of the output's shape, whatever the input is; in evaluation mode the same ones for each image."""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the noise, (B, C, ceil(H/stride), ceil(W/stride))."""
        like = x[:, :, :: self.stride, :: self.stride]
        if x.is_meta:
            return torch.empty_like(like)
        shape = like.shape if self.training else (1, *like.shape[1:])
        return torch.randn(shape, generator=self.generator(), device="cpu").to(x).expand_as(like)


@OPS.register("dropout")
def dropout(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Dropout of a fifth of the values."""
    return strided(Dropout(), stride=stride)


@OPS.register("noise")
def noise(channels: int, *, stride: int, affine: bool) -> nn.Module:
    """Normal noise in the place of the input (RobustDARTS, arXiv:1909.09656)."""
    return Noise(stride=stride)
