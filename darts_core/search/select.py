"""Choosing a discrete architecture by the supernet's weights, where alpha does not choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from darts_core.genotype import Genotype
from darts_core.spaces.space import CellSpace
from darts_core.supernet.supernet import Supernet

Evaluate = Callable[[], float]
"""The supernet's accuracy in percent, as it is computed at the time: ``with supernet.only(genotype): evaluate()``."""

Tune = Callable[[int, int], None]
"""(epoch from 0, number of epochs) -> one epoch of the steps of the search, as the supernet is computed at the time."""


class Selection(Protocol):
    """Returns the chosen genotype and its accuracy in percent, as ``evaluate`` tells it.

    ``evaluate`` takes the same validation images whenever it is called, and BatchNorm the statistics of each batch, for those of all
    paths together are no path's; it changes nothing. ``tune`` trains the supernet.
    """

    @property
    def batches(self) -> int | None:
        """How many validation batches ``evaluate`` takes; None: all held-out images."""
        ...

    def __call__(  # noqa: D102
        self, supernet: Supernet, space: CellSpace, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]: ...


@dataclass(frozen=True, kw_only=True)
class BestOfRandom:
    """The best of ``samples`` random genotypes; of equals the one that was drawn first (Li and Talwalkar, UAI 2019, arXiv:1902.07638)."""

    samples: int
    batches: int

    def __call__(
        self, supernet: Supernet, space: CellSpace, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]:
        """Return the genotype and its accuracy, percent; nothing is tuned."""
        drawn = [space.random_genotype(generator) for _ in range(self.samples)]
        scores = []
        for genotype in drawn:
            with supernet.only(genotype):
                scores.append(evaluate())
        best = max(range(self.samples), key=lambda k: scores[k])
        return drawn[best], scores[best]
