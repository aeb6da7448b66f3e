"""What every comparison with the published reference's numbers needs."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from darts_core.genotype import Genotype

TOLERANCE = 1e-9
Outcome = tuple[str, str | None]
"""The name of a comparison, and what is wrong, if anything is."""


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest magnitude of the reference (absolute where that is 0)."""
    scale = float(theirs.abs().max()) or 1.0
    return float((ours.detach() - theirs).abs().max()) / scale


def compare(name: str, ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], *, tolerance: float = TOLERANCE) -> Outcome:
    if missing := sorted(set(theirs) - set(ours)):
        return name, f"missing: {missing[:3]}"
    worst = max(theirs, key=lambda key: relative_error(ours[key], theirs[key]))
    error = relative_error(ours[worst], theirs[worst])
    return name, None if error <= tolerance else f"{worst}: relative error {error:.2e}, at most {tolerance:.0e} expected"


def pairs(genotype: Genotype, cell_type: str) -> list[list[object]]:
    return [[edge.op, edge.src] for _, edge in genotype.cell(cell_type).edges]
