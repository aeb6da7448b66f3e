"""What a search found, with a supernet or without."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from darts_core.genotype import Cell, Genotype

Row = dict[str, Any]


@dataclass(kw_only=True)
class SearchResult:
    """What a search found.

    ``history`` has a row an epoch (losses, accuracies in percent, learning rate, entropies, mean weights, the collapse watch), ``alphas`` a
    row for each epoch, cell, edge and operation, ``costs`` what :meth:`EpochCost.lap` says of each epoch, and ``selection`` of choosing an
    architecture after the last one, where the method does; ``ranks`` are the architectures of a probe and their accuracies, epoch by epoch,
    ``op_weights`` the final weights op_EO of each cell type, ``edge_weights`` those of the edges, edge_E, where they have any, and
    ``supernet_state`` is the ``state_dict`` with alpha in it. ``computed`` says by which backend and memory mode, ``stopped`` why the
    search ended before its last epoch, if it did. ``chosen`` is the row of the history that weights and accuracies are of: the last
    one, unless the search went back to an earlier epoch, or architectures were trained one by one, each with a row (``architecture``,
    not ``epoch``) and without a supernet.
    """

    genotype: Genotype
    history: list[Row]
    alphas: list[Row]
    costs: list[Row]
    ranks: list[Row]
    selection: dict[str, float] | None
    computed: dict[str, str]
    stopped: str | None
    op_weights: dict[str, Tensor] = field(repr=False)
    edge_weights: dict[str, Tensor] = field(repr=False)
    supernet_state: dict[str, Tensor] = field(repr=False)
    chosen: int = -1

    @property
    def normal(self) -> Cell:
        """The normal cell; ``ValueError`` where the space has none."""
        return self.genotype.cell("normal")

    @property
    def reduce(self) -> Cell:
        """The reduction cell; ``ValueError`` where the space has none."""
        return self.genotype.cell("reduce")

    @property
    def train_acc(self) -> float:
        """Top-1 accuracy of the supernet on its training batches in the epoch that is taken, percent."""
        return float(self.history[self.chosen]["train_acc"])

    @property
    def valid_acc(self) -> float:
        """Top-1 accuracy of the supernet on held-out images after the epoch that is taken, percent."""
        return float(self.history[self.chosen]["valid_acc"])
