"""Choosing a discrete architecture by the supernet's weights, where alpha does not choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from darts_core.config import SearchConfig
from darts_core.genotype import Genotype
from darts_core.search.derive import strongest_edges
from darts_core.spaces.space import Space
from darts_core.supernet.supernet import Supernet

Evaluate = Callable[[], float]
"""The supernet's ``quality``, the higher the better, as it is computed at the time: ``with supernet.only(genotype): evaluate()``."""

Tune = Callable[[int, int], None]
"""(epoch from 0, number of epochs) -> one epoch of the steps of the search, as the supernet is computed at the time."""


class Selection(Protocol):
    """Returns the chosen genotype and its quality, as ``evaluate`` tells it: of images the accuracy in percent, of a text minus its loss.

    ``evaluate`` takes the same validation batches whenever it is called, and BatchNorm the statistics of each batch, for those of all
    paths together are no path's; it changes nothing. ``tune`` trains the supernet.
    """

    @property
    def rule(self) -> str:
        """What the genotype is said to be derived by."""
        ...

    @property
    def batches(self) -> int | None:
        """How many validation batches ``evaluate`` takes, of those held out at most; None: everything held out."""
        ...

    @property
    def by_loss(self) -> bool:
        """Whether ``evaluate`` tells minus the loss of images, too."""
        ...

    def __call__(  # noqa: D102
        self, supernet: Supernet, space: Space, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]: ...


@dataclass(frozen=True, kw_only=True)
class BestOfRandom:
    """The best of ``samples`` random genotypes; of equals the one that was drawn first (Li and Talwalkar, UAI 2019, arXiv:1902.07638)."""

    samples: int
    batches: int
    by_loss: bool = False
    rule: str = "best_of_random"

    def __call__(
        self, supernet: Supernet, space: Space, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]:
        """Return the genotype and its quality; nothing is tuned."""
        return best([space.random_genotype(generator) for _ in range(self.samples)], supernet, evaluate)


@dataclass(frozen=True, kw_only=True)
class BestOfDrawn:
    """The best of ``samples`` architectures that the policy draws; of equals the one that was drawn first (ENAS, arXiv:1802.03268)."""

    samples: int
    batches: int
    by_loss: bool = False
    rule: str = "best_of_drawn"

    def __call__(
        self, supernet: Supernet, space: Space, *, evaluate: Evaluate, tune: Tune, generator: torch.Generator
    ) -> tuple[Genotype, float]:
        """Return the genotype and its quality; nothing is tuned."""
        genotypes = []
        for _ in range(self.samples):
            with torch.no_grad():
                drawn = supernet.drawn().weights
            paths = {cell_type: weights.op_EO for cell_type, weights in drawn.items()}
            genotypes.append(strongest_edges(paths, primitives=supernet.primitives, shape=space.shape, space=space.name))
        return best(genotypes, supernet, evaluate)


@dataclass(frozen=True, kw_only=True)
class TrainedAlone:
    """The best of ``samples`` random architectures, each trained by itself from scratch; of equals the one that was drawn first.

    There is no supernet: whoever runs such a search trains them, for ``epochs`` (None: search.epochs), and ranks them by the held-out data.
    With ``halving`` the best one in so many goes through to another round, in which it is trained anew for so many times as long.
    ``rank_by`` training_speed is by the training loss of the last epoch instead: TSE-E, E=1 (Ru et al., NeurIPS 2021, arXiv:2006.04492).
    """

    samples: int
    epochs: int | None
    halving: int | None = None
    rank_by: str = "validation"
    rule: str = "best_of_trained"

    def rounds(self, cfg: SearchConfig) -> list[tuple[int, int]]:
        """Return how many architectures each round trains, and for how many epochs."""
        rounds = [(self.samples, cfg.epochs if self.epochs is None else self.epochs)]
        while self.halving is not None and rounds[-1][0] // self.halving > 1:  # a round of one would decide nothing
            count, epochs = rounds[-1]
            rounds.append((count // self.halving, epochs * self.halving))
        return rounds


def best(genotypes: Sequence[Genotype], supernet: Supernet, evaluate: Evaluate) -> tuple[Genotype, float]:
    """Return the genotype of highest quality with the shared weights, and that quality; of equals the first. Each is computed once."""
    scores: dict[Genotype, float] = {}
    for genotype in genotypes:
        if genotype not in scores:
            with supernet.only(genotype):
                scores[genotype] = evaluate()
    return max(scores.items(), key=lambda pair: -math.inf if math.isnan(pair[1]) else pair[1])
