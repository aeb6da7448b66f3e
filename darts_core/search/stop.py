"""Rules that end a search before its last epoch, by what it logged; a resumed search has the same log and so ends at the same epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

History = Sequence[Mapping[str, Any]]
"""A row an epoch, as ``reports/search/history.csv`` has them."""


class StopRule(Protocol):
    """The rows so far -> why the search is over, or None."""

    def __call__(self, history: History) -> str | None: ...  # noqa: D102


def main_cell(row: Mapping[str, Any]) -> str:
    """Return the cell that skip connections and a collapse are counted in: the space's first, normal where there is one."""
    return next(key.removeprefix("skips_") for key in row if key.startswith("skips_"))


@dataclass(frozen=True)
class SkipLimit:
    """The derived normal cell, or the layers, hold ``limit`` skip connections or more (DARTS+, arXiv:1909.06035, criterion 1).

    Epochs in which alpha stands still, or is ``undecided`` after, do not count: the skip connections of an even choice are chance.
    """

    limit: int

    def __call__(self, history: History) -> str | None:
        """Judge the last epoch."""
        if not history or "arch_loss" not in history[-1] or history[-1].get("undecided"):
            return None
        cell = main_cell(history[-1])
        skips = int(history[-1][f"skips_{cell}"])
        return f"the {cell} cell has {skips} skip connections (method.skip_limit: {self.limit})" if skips >= self.limit else None


@dataclass(frozen=True)
class StableRanking:
    """The order of the operations has been the same on every edge of every cell for ``epochs`` epochs."""

    epochs: int

    def __call__(self, history: History) -> str | None:
        """Judge the last epoch."""
        if not history or history[-1]["stable_epochs"] < self.epochs:
            return None
        return f"the order of the operations has not changed for {self.epochs} epochs (method.stable_epochs)"


def why_stop(rules: Sequence[StopRule], history: History) -> str | None:
    """Return the reason of the first rule that ends the search, or None."""
    return next((reason for rule in rules if (reason := rule(history)) is not None), None)
