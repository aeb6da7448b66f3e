"""DARTS+."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.method import Method
from darts_core.search.ranges import at_least
from darts_core.search.relax import softmax
from darts_core.search.stop import SkipLimit


@METHODS.register("darts_plus")
def darts_plus(*, skip_limit: int = 2) -> Method:
    """DARTS+ (Liang et al., 2019, arXiv:1909.06035): the search ends once the normal cell has two skip connections.

    The cell is that of the epoch in which ``skip_limit`` was reached. The paper's other criterion is ``stable_epochs`` (10), which here
    looks at the order of all operations but ``none``, not of those with parameters alone. Ours is that nothing counts while alpha is within
    three per cent of an even choice, by its entropy. Recalled [M], not checked against the paper:
    both criteria and the 10.
    """
    return Method(relax=softmax, stop=(SkipLimit(at_least(1, "skip_limit", skip_limit)),))
