"""An operation of a discrete network by the kernels: blocks in a row, whose BatchNorms have scale and shift. Maps are channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _get_current_dispatch_mode

from darts_core.ops.native.block import Block, has_usual_buffers, is_alike
from darts_core.ops.native.cell import pointer
from darts_core.ops.native.library import AffineArguments, BlockArguments, ChainArguments, array, run


@dataclass(frozen=True)
class Chain:
    """One block or more, each on what the one before it returns; the first may be strided."""

    blocks: tuple[Block, ...]

    @property
    def has_kernel(self) -> bool:
        """Whether the kernels compute these convolutions and BatchNorms."""
        return bool(self.blocks) and all(
            block.has_kernel_geometry and block.bn.affine and has_usual_buffers(block.bn) and (k == 0 or block.keeps_size)
            for k, block in enumerate(self.blocks)
        )

    def suits(self, x: Tensor) -> bool:
        """Whether the kernels compute this of ``x``: float32 or float64 on the CPU, BatchNorms in training or no gradient wanted.

        Not under a mode that is to see torch's own operations, as one that counts or traces them.
        """
        is_watched = _is_autocast() or _get_current_dispatch_mode() is not None
        if is_watched or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return False
        height, width = self.blocks[0].out_size((x.shape[2], x.shape[3]))
        is_training = self.blocks[0].bn.training
        if any(block.bn.training != is_training for block in self.blocks) or x.shape[0] * height * width < 2:
            return False
        return (is_training or not torch.is_grad_enabled()) and all(block.fits(x) and is_alike(_affine(block), x) for block in self.blocks)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W') after the last BatchNorm; the buffers move as in a forward pass of torch."""
        parameters = [p for block in self.blocks for p in (*block.weights, *_affine(block))]
        out: Tensor = _Chain.apply(self, x, *parameters)
        return out

    def geometries(self, x: Tensor) -> list[tuple[int, ...]]:
        """Return of each block what C calls its geometry."""
        batch, channels, height, width = x.shape
        found, size = [], (height, width)
        for block in self.blocks:
            kernel, stride, padding, dilation, *out = block.geometry(size)
            found.append((batch, channels, *size, kernel, stride, padding, dilation, *out, torch.get_num_threads()))
            size = (out[0], out[1])
        return found


def _is_autocast() -> bool:
    if hasattr(torch.amp, "is_autocast_available"):  # since torch 2.4, as the argument is
        return torch.is_autocast_enabled("cpu")
    return torch.is_autocast_cpu_enabled()


def _affine(block: Block) -> tuple[Tensor, Tensor]:
    return block.bn.weight, block.bn.bias


class _Chain(torch.autograd.Function):
    """A map (B, C, H, W), and of each block its two weights and its BatchNorm's scale and shift -> the output (B, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, chain: Chain, x: Tensor, *parameters: Tensor) -> Tensor:
        x = _laid_out(x)
        *_, height, width, _ = chain.geometries(x)[-1]
        batch, channels = x.shape[:2]
        out = torch.empty((batch, channels, height, width), dtype=x.dtype, memory_format=torch.channels_last)
        maps = x.new_empty((len(chain.blocks), batch, height, width, channels))  # ahead of the BatchNorms
        moments = x.new_empty((len(chain.blocks), 2, channels), dtype=torch.float64)
        _run("chain_forward", chain, x, maps, moments, parameters, out=out)
        ctx.chain = chain
        ctx.save_for_backward(x, maps, moments, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, maps, moments, *parameters = ctx.saved_tensors
        x, (wants_x, *wants) = _laid_out(x), ctx.needs_input_grad[1:]
        grad_x = torch.empty_like(x) if wants_x else None
        grads = [torch.empty_like(p, memory_format=torch.contiguous_format) if want else None for p, want in zip(parameters, wants)]
        for k in range(0, len(grads), 4):  # the kernels give both weights of a block, or none
            if any(wants[k : k + 2]):
                grads[k : k + 2] = [g if g is not None else torch.empty_like(p) for g, p in zip(grads[k : k + 2], parameters[k : k + 2])]
        _run(
            "chain_backward",
            ctx.chain,
            x,
            maps.contiguous(),
            moments.contiguous(),
            parameters,
            grad=_laid_out(grad),
            grad_x=grad_x,
            grads=grads,
        )
        return None, grad_x, *grads


def _run(
    name: str,
    chain: Chain,
    x: Tensor,
    maps: Tensor,
    moments: Tensor,
    parameters: Sequence[Tensor],
    *,
    out: Tensor | None = None,
    grad: Tensor | None = None,
    grad_x: Tensor | None = None,
    grads: Sequence[Tensor | None] = (),
) -> None:
    held = [p if p.is_contiguous() else p.detach().contiguous() for p in parameters]
    places = [pointer(g) for g in grads] or [0] * len(held)
    blocks: list[float] = []
    affine: list[int] = []
    for k, (block, geometry) in enumerate(zip(chain.blocks, chain.geometries(x))):
        bn, own, their = block.bn, held[4 * k : 4 * k + 4], places[4 * k : 4 * k + 4]
        blocks += [*geometry, own[0].data_ptr(), own[1].data_ptr()]
        blocks += [pointer(bn.running_mean), pointer(bn.running_var), pointer(bn.num_batches_tracked)]
        blocks += [bn.eps, bn.momentum or 0.0, int(bn.training), maps[k].data_ptr(), moments[k].data_ptr(), *their[:2]]
        affine += [own[2].data_ptr(), own[3].data_ptr(), *their[2:]]
    arguments = ChainArguments(
        len(chain.blocks),
        array(BlockArguments, blocks),
        array(AffineArguments, affine),
        *(x.data_ptr(), pointer(out), pointer(grad), pointer(grad_x)),
    )
    run(name, x.dtype, arguments)


def _laid_out(x: Tensor) -> Tensor:
    return x.detach().contiguous(memory_format=torch.channels_last)
