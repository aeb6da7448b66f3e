"""Choosing among discrete architectures by the supernet's weights, where alpha does not choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from darts_core.genotype import Genotype
from darts_core.spaces.space import Space


class Selection(Protocol):
    """Returns the chosen genotype and its score.

    ``score`` computes an architecture with the supernet's weights on ``batches`` validation batches, the same ones for all, and returns
    its accuracy in percent.
    """

    @property
    def batches(self) -> int:
        """How many validation batches ``score`` takes."""
        ...

    def __call__(self, space: Space, score: Callable[[Genotype], float], generator: torch.Generator) -> tuple[Genotype, float]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class BestOfRandom:
    """The best of ``samples`` random genotypes; of equals the one that was drawn first (Li and Talwalkar, UAI 2019, arXiv:1902.07638)."""

    samples: int
    batches: int

    def __call__(self, space: Space, score: Callable[[Genotype], float], generator: torch.Generator) -> tuple[Genotype, float]:
        """Return the genotype and its accuracy, percent."""
        drawn = [space.random_genotype(generator) for _ in range(self.samples)]
        scores = [score(genotype) for genotype in drawn]
        best = max(range(self.samples), key=lambda k: scores[k])
        return drawn[best], scores[best]
