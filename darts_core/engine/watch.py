"""The collapse watch: what the derived cells consist of, how long the operations' ranking has stood, and what counts as a collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from darts_core.genotype import Genotype
from darts_core.ops import OPS
from darts_core.ops.recurrent import ACTIVATIONS
from darts_core.search.stop import main_cell
from darts_core.spaces.space import Space

Row = Mapping[str, Any]

COLLAPSED_SHARE = 0.75
"""Of the operations of the derived normal cell that have no parameters, from which on a search counts as collapsed. Published normal cells
have at most five in eight; reduction cells are left out, for good ones may consist of pools."""

COLLAPSED_EPOCHS = 3
"""In a row, in which alpha moves, before it is said: the first cells are chance."""

EVEN_SHARE = 0.97
"""Of the entropy of an even choice among the operations, from which on alpha has hardly moved, and what is derived of it is chance."""


@cache
def has_parameters(op: str) -> bool:
    """Return whether an operation has parameters where it keeps the resolution: pools and skip connections have none.

    A recurrent one has those of its highway gate.
    """
    if op in ACTIVATIONS:
        return op != "none"
    with torch.device("meta"):
        return any(True for _ in OPS.get(op)(4, stride=1, affine=False).parameters())


def cell_metrics(genotype: Genotype, space: Space) -> dict[str, float]:
    """Return of each derived cell the share of operations without parameters, ``parameterless_<cell>``, and the number ``skips_<cell>``.

    Edges of ``space`` that offer no operation with parameters are left out of the share: skip connections that are chosen are no collapse.
    """
    metrics: dict[str, float] = {}
    offers = space.offers()
    for cell_type, cell in genotype.cells.items():
        offered = dict(zip(space.shape.sources, offers[cell_type].names))
        ops = [edge.op for dst, edge in cell.edges if any(map(has_parameters, offered.get((edge.src, dst), space.primitives)))]
        metrics[f"parameterless_{cell_type}"] = sum(not has_parameters(op) for op in ops) / max(1, len(ops))
        metrics[f"skips_{cell_type}"] = sum(edge.op == "skip_connect" for _, edge in cell.edges)
    return metrics


def ranking(mixture: Mapping[str, Tensor], usable: Sequence[int]) -> Tensor:
    """Return the operations ``usable`` of every edge of every cell, strongest first, as indices into these (edges, operations)."""
    weights = torch.cat([op_EO[:, usable] for op_EO in mixture.values()])
    return weights.argsort(dim=1, descending=True, stable=True)


def stable_epochs(history: Sequence[Row], before: Tensor, now: Tensor, *, is_still: bool) -> int:
    """Return for how many epochs, the present one included, every edge has had the ranking that it has ``now``.

    ``before`` is the ranking ahead of this epoch, ``history`` the rows of the epochs ahead of it. Where alpha stands still, none count.
    """
    if is_still or not torch.equal(before, now):
        return 0
    return 1 + (int(history[-1]["stable_epochs"]) if history else 0)


def has_chosen(mixture: Mapping[str, Tensor]) -> bool:
    """Return whether the first cell's weights of operations (edges, operations) are off an even choice, by their mean entropy.

    Where they are gates, which share nothing, an even choice is a half for each.
    """
    share_EO = next(iter(mixture.values())).double()
    if not torch.allclose(share_EO.sum(-1), torch.ones((), dtype=torch.float64), atol=1e-3):
        gates = share_EO[share_EO > 0].clamp(1e-30, 1.0 - 1e-15)
        entropy = -(gates * gates.log2() + (1.0 - gates) * (1.0 - gates).log2())
        return bool(entropy.mean() < EVEN_SHARE)
    share_EO = share_EO / share_EO.sum(-1, keepdim=True).clamp_min(1e-30)
    entropy_E = -(share_EO * share_EO.clamp_min(1e-30).log()).sum(-1)
    even_E = (share_EO > 0).sum(-1).clamp_min(1).double().log()
    return not even_E.any() or bool(entropy_E.sum() < EVEN_SHARE * even_E.sum())


def is_bare(history: Sequence[Row]) -> bool:
    """Return whether the first cell has hardly had parameters for ``COLLAPSED_EPOCHS`` epochs, none of them in a warm-up."""
    last = history[-COLLAPSED_EPOCHS:]
    return len(last) == COLLAPSED_EPOCHS and all("arch_loss" in row and _share(row) >= COLLAPSED_SHARE for row in last)


def _share(row: Row) -> float:
    return float(row[f"parameterless_{main_cell(row)}"])


def selection_warning(genotype: Genotype, space: Space) -> str | None:
    """Return the warning where the cell that a selection chose is bare: the watch by epoch sees what alpha says, not this."""
    found = cell_metrics(genotype, space)
    cell = main_cell(found)
    if _share(found) < COLLAPSED_SHARE:
        return None
    return (
        f"{_share(found):.0%} of the operations of the {cell} cell that was chosen have no parameters ({found[f'skips_{cell}']} skip "
        "connections). Such a cell is seldom good: compare it with random cells, or try more search.epochs."
    )


def collapse_warning(history: Sequence[Row], *, is_last: bool) -> str | None:
    """Return the warning in the epoch in which a search first counts as ``collapsed``; in its last one also where a bare cell is chance."""
    row, cell = history[-1], main_cell(history[-1])
    is_chance = is_last and is_bare(history) and not any(each["collapsed"] for each in history)
    if not is_chance and (not row["collapsed"] or any(each["collapsed"] for each in history[:-1])):
        return None
    found = (
        f"for {COLLAPSED_EPOCHS} epochs at least {COLLAPSED_SHARE:.0%} of the derived {cell} cell's operations have had no parameters "
        f"(in epoch {row['epoch']}: {_share(row):.0%}, {row[f'skips_{cell}']} skip connections). "
    )
    if is_chance:
        return f"alpha has hardly moved, and {found}Such a cell is chance. Try more search.epochs or a higher search.arch_lr."
    return (
        f"the search has collapsed: {found}"
        "Try fewer search.epochs, a lower search.arch_lr, or another method.name: darts_plus, robust_darts, darts_minus, beta_darts."
    )
