"""Random search with shared weights."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.bilevel import Still
from darts_core.search.method import Method
from darts_core.search.select import BestOfRandom
from darts_core.search.uniform import Uniform


@METHODS.register("random_search")
def random_search(*, samples: int = 100, score_batches: int = 8) -> Method:
    """Random search with shared weights (Li and Talwalkar, UAI 2019, arXiv:1902.07638): what a search must beat.

    Each batch trains one operation an edge, drawn evenly. After the last epoch the best of ``samples`` random genotypes is taken, by
    their accuracy on ``score_batches`` validation batches with the shared weights and the batches' own statistics.
    """
    for key, value in (("samples", samples), ("score_batches", score_batches)):
        if value < 1:
            raise ValueError(f"method.{key} must be at least 1. Got {value}.")
    return Method(relax=Uniform(), arch_gradient=Still(), select=BestOfRandom(samples=samples, batches=score_batches))
