"""DARTS-PT."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import FirstOrder, Still
from darts_core.search.method import Method
from darts_core.search.missed import MostMissed
from darts_core.search.ranges import at_least
from darts_core.search.relax import softmax


@METHODS.register("darts_pt")
def darts_pt(
    *,
    fixed_alpha: bool = False,
    tune_epochs: int = 5,
    score_batches: int | None = None,
    score_by: Literal["accuracy", "loss"] = "accuracy",
) -> Method:
    """DARTS-PT (Wang et al., ICLR 2021, arXiv:2108.04392): what to keep is what the supernet's accuracy misses most, not the largest alpha.

    After the search each edge in turn keeps the operation whose removal hurts accuracy on ``score_batches`` validation batches (null: all
    held-out images) most, with ``tune_epochs`` epochs at a tenth of the learning rate between two decisions; then each node its sources.
    ``score_by: loss`` takes the mean cross entropy in the place of accuracy, of which few images have coarse steps; the published code has
    both [M], and of a text it is the loss anyway. With ``fixed_alpha`` alpha never moves. The published recipe leaves ``none`` out of
    space.primitives.
    """
    return Method(
        relax=softmax,
        arch_gradient=Still() if fixed_alpha else FirstOrder(),
        select=MostMissed(
            tune_epochs=at_least(0, "tune_epochs", tune_epochs),
            batches=None if score_batches is None else at_least(1, "score_batches", score_batches),
            by_loss=score_by == "loss",
        ),
    )
