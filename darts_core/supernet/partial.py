"""Partial channels: candidates see a part of each state, the rest goes by (PC-DARTS, Xu et al., ICLR 2020, arXiv:1907.05737, section 3.2).

The published code joins and shuffles the channels of every edge. Both commute with the sum over the edges, so that here a node is
joined and shuffled once, and a state's first channels are an ordinary state to the backend: what it shares between edges, it shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from darts_core.ops.layout import concatenate, cut, memory_format_of
from darts_core.supernet.backend import Backend
from darts_core.supernet.source import Source


class PartialState:
    """A state (B, C, H, W): its first C / ``proportion`` channels as the candidates see them, and the rest."""

    def __init__(self, x: Tensor, backend: Backend, proportion: int) -> None:
        width = x.shape[1] // proportion
        self.x = x
        active, self._rest = cut(x, (width, x.shape[1] - width))
        self.active: Source = backend.source(active)
        self._halved: Tensor | None = None

    def rest(self, *, stride: int) -> Tensor:
        """Return the channels that go by: as they are, or, at a stride of two, the largest of each four pixels."""
        if stride == 1:
            return self._rest
        if self._halved is None:
            self._halved = F.max_pool2d(self._rest, 2, 2, ceil_mode=True)
        return self._halved


def joined(active: Tensor, rest: Tensor, proportion: int) -> Tensor:
    """Return both parts of a node, (B, C, H, W), shuffled: each of ``proportion`` neighbours comes from another group of channels."""
    return shuffled(concatenate([active, rest]), proportion)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Return ``x`` (B, C, H, W) with channel j of group g, of C / groups each, at place j * groups + g, in the layout of ``x``."""
    batch, channels, height, width = x.shape
    x_BHWC = x.permute(0, 2, 3, 1).reshape(batch, height, width, groups, channels // groups)
    out = x_BHWC.transpose(3, 4).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    return out.contiguous(memory_format=memory_format_of(x))


def check_width(channels: int, proportion: int, *, key: str = "method.channel_proportion") -> None:
    """Raise ``ValueError`` where the channels cannot be cut; ``key`` gives the proportion."""
    if channels % proportion:
        raise ValueError(f"space.init_channels must be a multiple of {key}, {proportion}. Got {channels}.")


def sources_of(states: Sequence[PartialState], backend: Backend) -> list[Source]:
    """Return whole states as the backend's."""
    return [backend.source(state.x) for state in states]
