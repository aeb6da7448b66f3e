"""Rank disorder: do the supernet's weights order architectures as their own training does (Yu et al., arXiv:1902.08142)?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from darts_core.config import SearchConfig
from darts_core.engine.loop import Batch, to_device
from darts_core.engine.selection import mean_quality
from darts_core.genotype import Genotype
from darts_core.metrics.ranks import rank_correlation
from darts_core.spaces.space import Space
from darts_core.supernet.supernet import Supernet

Row = dict[str, Any]
FEWEST = 5  # architectures of which an order is spoken


@dataclass(frozen=True, kw_only=True)
class RankProbe:
    """Architectures with their validation accuracies in percent, trained each by itself, to hold against what the supernet says of them.

    ``names`` tell them apart in a table; ``batches`` are what the supernet is asked about, the same ones each time, in every ``every``-th
    epoch. The probe changes nothing of the search.
    """

    genotypes: Sequence[Genotype]
    names: Sequence[str]
    own_accs: Sequence[float]
    batches: Sequence[Batch]
    every: int

    def is_due(self, epoch: int) -> bool:
        """Return whether ``epoch`` (from 1) is one of those."""
        return epoch % self.every == 0

    def compare(self, supernet: Supernet, epoch: int, *, device: torch.device, memory_format: torch.memory_format) -> tuple[Row, list[Row]]:
        """Return Kendall's tau and Spearman's rho with 95 % intervals, ``rank_tau`` and so on, and a row for each architecture.

        What cannot be told, as where the supernet has the same accuracy for all, is left out, and so are architectures that the supernet
        of a later phase does not offer any more.
        """
        placed = list(to_device(self.batches, device, memory_format))
        rows: list[Row] = [
            {"epoch": epoch, "architecture": name, "supernet_acc": supernet_accuracy(supernet, genotype, placed), "own_acc": own}
            for genotype, name, own in zip(self.genotypes, self.names, self.own_accs, strict=True)
            if _offers(supernet, genotype)
        ]
        if len(rows) < FEWEST:
            return {}, rows
        shared, own_accs = ([row[key] for row in rows] for key in ("supernet_acc", "own_acc"))
        found = asdict(rank_correlation(shared, own_accs, generator=np.random.default_rng(epoch)))
        return {f"rank_{key}": value for key, value in found.items() if math.isfinite(value)}, rows


def _offers(supernet: Supernet, genotype: Genotype) -> bool:
    try:
        for cell_type in supernet.cell_types:
            supernet.path(genotype, cell_type)
    except ValueError:
        return False
    return True


def supernet_accuracy(supernet: Supernet, genotype: Genotype, batches: Iterable[Batch]) -> float:
    """Return the accuracy in percent of ``genotype`` with the supernet's weights.

    BatchNorm takes the statistics of each batch, for those of all paths together are no path's; nothing of the supernet moves.
    """
    device = next(supernet.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), supernet.only(genotype):
        return mean_quality(supernet, batches)


def draw_distinct(space: Space, samples: int, *, generator: torch.Generator, key: str = "search.rank_samples") -> list[Genotype]:
    """Draw so many different architectures. Raise ``ValueError`` that names ``key`` where there are not as many."""
    found: dict[str, Genotype] = {}
    repeats = 0  # in a row; were one architecture of N missing, so many would be seen by a chance of exp(-20)
    while len(found) < samples and repeats < 100 + 20 * len(found):
        genotype = space.random_genotype(generator)
        repeats = repeats + 1 if found.setdefault(str(genotype.to_dict()), genotype) is not genotype else 0
    if len(found) < samples:
        raise ValueError(f"{key}: {samples} different architectures expected in the space '{space.name}'. Found {len(found)}.")
    return list(found.values())


def require_probe(probe: RankProbe | None, cfg: SearchConfig) -> None:
    """Raise ``ValueError`` where a comparison is asked for and nobody has brought the architectures."""
    if cfg.rank_samples and probe is None:
        raise ValueError(f"search.rank_samples must be 0 here: the pipeline alone compares architectures. Got {cfg.rank_samples}.")
