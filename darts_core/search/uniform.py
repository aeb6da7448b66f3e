"""Architectures drawn evenly, whatever has been learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from darts_core.supernet.offer import Offer
from darts_core.supernet.policy import Joint, derivable, first_path, one_path, path_of, random_cell
from darts_core.supernet.sampled import Active, Weights
from darts_core.supernet.shape import CellShape


class Uniform(Joint):
    """Compute one random architecture of the space in each forward pass, with weights 1; there is no alpha."""

    offers: Mapping[str, Offer]
    shape: CellShape
    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(()), persistent=False)  # knows the device and the precision

    def fitted(self, offers: Mapping[str, Offer], shape: CellShape, *, generator: torch.Generator) -> Joint:
        """Return one that draws cells of this shape."""
        own = self.fresh(generator)
        own.offers, own.shape = offers, shape
        return own

    def together(self) -> Mapping[str, Weights]:
        """Return the architecture of a forward pass; in evaluation mode every operation and every edge, as often as they are drawn."""
        if not self.training:
            return {name: self._chances(offer) for name, offer in self.offers.items()}
        return {name: self._path(offer) for name, offer in self.offers.items()}

    def _path(self, offer: Offer) -> Weights:
        if self.place.is_meta:
            return one_path(first_path(offer, self.shape), offer=offer, shape=self.shape, like=self.place)
        generator = torch.Generator().manual_seed(self.seed())
        return path_of(random_cell(offer, self.shape, generator), offer=offer, shape=self.shape, like=self.place)

    def marginals(self) -> dict[str, Tensor]:
        """Return the same for all that an edge offers, op_EO of each cell type: no operation is preferred, and that is what is logged."""
        return {name: self._even(offer, offer.ops) for name, offer in self.offers.items()}

    def _even(self, offer: Offer, ops: Active) -> Tensor:
        op_EO = self.place.new_zeros(len(offer.ops), len(offer.primitives))
        for row_O, own in zip(op_EO, ops):
            row_O[list(own)] = 1.0 / len(own)
        return op_EO

    def _chances(self, offer: Offer) -> Weights:
        """Return how probable it is that each edge is read, and that an edge that is has each operation."""
        kept = self.shape.kept_edges
        read = [1.0 if kept is None else min(1.0, kept / count) for count in self.shape.fan_in for _ in range(count)]
        return Weights(self._even(offer, derivable(offer, self.shape)), offer.active, self.place.new_tensor(read))
