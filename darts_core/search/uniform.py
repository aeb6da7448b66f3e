"""Architectures drawn evenly, whatever has been learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from darts_core.supernet.offer import Offer
from darts_core.supernet.policy import Joint, derivable, first_path, one_path, path_of, random_cell
from darts_core.supernet.sampled import Weights
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
            return {name: Weights(op_EO, self.offers[name].active, self._read()) for name, op_EO in self.marginals().items()}
        return {name: self._path(offer) for name, offer in self.offers.items()}

    def _path(self, offer: Offer) -> Weights:
        if self.place.is_meta:
            return one_path(first_path(offer, self.shape), offer=offer, shape=self.shape, like=self.place)
        generator = torch.Generator().manual_seed(self.seed())
        return path_of(random_cell(offer, self.shape, generator), offer=offer, shape=self.shape, like=self.place)

    def marginals(self) -> dict[str, Tensor]:
        """Return op_EO of each cell type: how probable each operation is on an edge that is read, the same for all that may be derived."""
        found = {}
        for name, offer in self.offers.items():
            op_EO = self.place.new_zeros(len(offer.ops), len(offer.primitives))
            for edge, own in enumerate(derivable(offer, self.shape)):
                op_EO[edge, list(own)] = 1.0 / len(own)
            found[name] = op_EO
        return found

    def _read(self) -> Tensor:
        """Return how probable it is that each edge is read."""
        kept = self.shape.kept_edges
        read = [1.0 if kept is None else min(1.0, kept / count) for count in self.shape.fan_in for _ in range(count)]
        return self.place.new_tensor(read)
