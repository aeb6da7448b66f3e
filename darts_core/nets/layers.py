"""A chain of layers: a stem, layers of channels and a stride of their own, a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from darts_core.nets.chain import ChainHead, ChainStem
from darts_core.nets.skeleton import BlockPlan, CellPlan, Skeleton, Stem
from darts_core.ops.conv import ReluConvBn


@dataclass(frozen=True)
class Layer:
    """``channels`` (in and out) of a layer, and its ``stride``: 2 halves the resolution, whichever operation stands there."""

    channels: int
    stride: int = 1


@dataclass(frozen=True)
class FitPlan:
    """A 1x1 convolution between two layers of unlike channels, of which there is nothing to search."""

    channels_in: int
    channels_out: int

    def build(self) -> ReluConvBn:
        """Return it."""
        return ReluConvBn(self.channels_in, self.channels_out, affine=True)


@dataclass(frozen=True)
class LayersFrame:
    """Each of ``layers`` reads the one before it; ``init_channels`` are those of the stem, and ``source`` says where both are written."""

    layers: tuple[Layer, ...]
    init_channels: int
    source: str

    def check(self, *, layers: int, stem: Stem, auxiliary: bool, section: str) -> None:
        """Raise ``ValueError`` that names the key of ``section`` where there is no such network."""
        if layers != len(self.layers):
            raise ValueError(f"{section}.layers must be {len(self.layers)}, the layers of {self.source}. Got {layers}.")
        if stem != "cifar":
            raise ValueError(f"{section}.stem must be cifar with layers of one's own, which say where the resolution halves. Got {stem}.")
        if auxiliary:
            raise ValueError(f"{section}.auxiliary must be false in a chain of layers, which has no second classifier. Got true.")

    def scaled(self, channels: int, init_channels: int) -> int:
        """Return the channels of a layer in a network whose stem has ``init_channels``. Raise ``ValueError`` where they are not whole."""
        whole, rest = divmod(channels * init_channels, self.init_channels)
        if rest:
            raise ValueError(
                f"retrain.init_channels: the layers of {self.source} have their channels in proportion to its init_channels, "
                f"{self.init_channels}. Expected a number at which {channels} becomes a whole one. Got {init_channels}."
            )
        return whole

    def build(self, *, in_channels: int, init_channels: int, layers: int, stem: Stem, width: Mapping[str, int]) -> Skeleton:
        """Return the skeleton: the layers, and a 1x1 convolution wherever the channels change."""
        plans: list[CellPlan | BlockPlan] = []
        before = init_channels
        for row, layer in enumerate(self.layers):
            channels = self.scaled(layer.channels, init_channels)
            if channels != before:
                plans.append(FitPlan(before, channels))
            plans.append(
                CellPlan(
                    channels_in=(channels,),
                    channels=channels,
                    is_reduction=layer.stride == 2,
                    follows_reduction=False,
                    fits_inputs=False,
                    row=row,
                )
            )
            before = channels
        return Skeleton(stem=ChainStem(in_channels, init_channels), plans=plans, head=ChainHead(before), channels=before)
