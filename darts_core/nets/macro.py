"""A network as one cell, whose nodes are the layers and whose states are halved at a third and two thirds of them (ENAS, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from darts_core.nets.chain import STAGES, ChainHead, ChainStem
from darts_core.nets.skeleton import CellPlan, Skeleton, Stem


@dataclass(frozen=True)
class MacroFrame:
    """One cell of ``layers`` nodes between a stem and a head; channels double where the resolution halves."""

    layers: int

    def check(self, *, layers: int, stem: Stem, auxiliary: bool, section: str) -> None:
        """Raise ``ValueError`` that names the key of ``section`` where there is no such network."""
        if self.layers % STAGES or self.layers < STAGES:
            raise ValueError(f"space.layers must be a multiple of {STAGES}, for so many stages of equally many layers. Got {self.layers}.")
        if layers != self.layers:
            raise ValueError(f"{section}.layers must be {self.layers}, space.layers, each of which has an operation. Got {layers}.")
        if stem != "cifar":
            raise ValueError(f"{section}.stem must be cifar in a space of three stages, which has no other. Got {stem}.")
        if auxiliary:
            raise ValueError(f"{section}.auxiliary must be false in a space of three stages, which has no second classifier. Got true.")

    def build(self, *, in_channels: int, init_channels: int, layers: int, stem: Stem, width: Mapping[str, int]) -> Skeleton:
        """Return the skeleton."""
        plan = CellPlan(
            channels_in=(init_channels,),
            channels=init_channels,
            is_reduction=False,
            follows_reduction=False,
            fits_inputs=False,
            halvings=tuple(stage * layers // STAGES for stage in range(1, STAGES)),
        )
        channels = plan.channels_at(layers)
        return Skeleton(stem=ChainStem(in_channels, init_channels), plans=(plan,), head=ChainHead(channels), channels=channels)
