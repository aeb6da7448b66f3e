"""Convolutions of one pixel with the BatchNorm after them, by the kernels: what fits a map to a cell's width and resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.ops.native.block import bn_fits, is_alike, is_plain
from darts_core.ops.native.cell import pointer
from darts_core.ops.native.library import FitArguments, Projection, array, run


@dataclass(frozen=True)
class Fit:
    """Convolutions of one pixel side by side, each of a grid of every ``step``-th pixel that no other reads, and their BatchNorm.

    ``starts``: the first pixel of each grid, down and across; beyond the edge an image is zero.
    """

    convs: tuple[nn.Conv2d, ...]
    starts: tuple[int, ...]
    step: int
    bn: nn.BatchNorm2d

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Those of the convolutions, (C_i, C_in, 1, 1) each."""
        return tuple(conv.weight for conv in self.convs)

    @property
    def has_kernel(self) -> bool:
        """Whether these are convolutions of one pixel without a bias, and a BatchNorm without affine parameters."""
        return is_plain(self.bn) and all(
            (conv.kernel_size, conv.stride, conv.padding, conv.groups, conv.bias) == ((1, 1), (1, 1), (0, 0), 1, None)
            for conv in self.convs
        )

    def fits(self, x: Tensor) -> bool:
        """Whether weights and buffers are of the precision, device and channels of ``x``, (B, C_in, H, W)."""
        width = sum(conv.weight.shape[0] for conv in self.convs)
        is_wide = all(conv.weight.shape[1] == x.shape[1] for conv in self.convs) and self.bn.num_features == width
        return is_wide and is_alike(self.weights, x) and bn_fits(self.bn, x, channels=width)

    def forward(self, x: Tensor, weights: Sequence[Tensor], *, rectifies: bool) -> tuple[Tensor, Tensor]:
        """Return the output, (B, C, ceil(H / step), ceil(W / step)), and its reciprocal standard deviations, (C,) float64.

        ``x`` is channels last; ``rectifies`` applies ReLU to it first. BatchNorm's buffers move as in a forward pass of torch. Raises
        ValueError for maps of a single value a channel in training.
        """
        batch, _, height, width = x.shape
        size = (-(-height // self.step), -(-width // self.step))
        if self.bn.training and batch * size[0] * size[1] == 1:
            raise ValueError(f"BatchNorm needs more than one value a channel in training. Got images of {tuple(x.shape)}.")
        out = torch.empty_like(x[:, :1, :1, :1].expand(batch, self.bn.num_features, *size), memory_format=torch.channels_last)
        rstd = x.new_empty(self.bn.num_features, dtype=torch.float64)
        if not out.is_meta:
            self._call("fit_forward", x, out, rstd, weights, rectifies=rectifies)
        return out, rstd

    def backward(
        self, grad: Tensor, x: Tensor, out: Tensor, rstd: Tensor, weights: Sequence[Tensor], *, rectifies: bool, wants: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``x`` and of each of ``weights`` where ``wants`` says so, else None; all maps are channels last."""
        grad_x = torch.empty_like(x) if wants[0] else None
        grads = [torch.empty_like(p, memory_format=torch.contiguous_format) if want else None for p, want in zip(weights, wants[1:])]
        self._call("fit_backward", x, out, rstd, weights, rectifies=rectifies, grad=grad, grad_x=grad_x, grads=grads)
        return grad_x, *grads

    def _call(
        self,
        name: str,
        x: Tensor,
        out: Tensor,
        rstd: Tensor,
        weights: Sequence[Tensor],
        *,
        rectifies: bool,
        grad: Tensor | None = None,
        grad_x: Tensor | None = None,
        grads: Sequence[Tensor | None] = (),
    ) -> None:
        batch, channels_in, height, width = x.shape
        bn, held = self.bn, [p if p.is_contiguous() else p.detach().contiguous() for p in weights]
        channels = out.shape[1]
        if any(p.shape[1:] != (channels_in, 1, 1) for p in held) or sum(p.shape[0] for p in held) != channels or not is_alike(held, x):
            found = ", ".join(f"{tuple(p.shape)} {p.dtype}" for p in held)
            raise ValueError(f"Weights take maps of {channels_in} channels in {x.dtype} to {channels} channels. Got {found}.")
        projections: list[int] = []
        for number, (p, start) in enumerate(zip(held, self.starts)):
            projections += (p.data_ptr(), pointer(grads[number] if grads else None), p.shape[0], start)
        arguments = FitArguments(
            *(batch, channels_in, height, width),
            *(channels, self.step, out.shape[2], out.shape[3]),
            *(torch.get_num_threads(), int(bn.training), int(rectifies), len(held)),
            array(Projection, projections),
            *(x.data_ptr(), out.data_ptr()),
            *(pointer(bn.running_mean), pointer(bn.running_var), pointer(bn.num_batches_tracked)),
            *(bn.eps, bn.momentum, rstd.data_ptr(), pointer(grad), pointer(grad_x)),
        )
        run(name, x.dtype, arguments)
