"""DARTS-."""

from __future__ import annotations

import math
from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.method import Method
from darts_core.search.ranges import in_range
from darts_core.search.relax import softmax


@METHODS.register("darts_minus")
def darts_minus(*, skip_weight: float = 1.0, decay: Literal["linear", "cosine"] = "linear") -> Method:
    """DARTS- (Chu et al., ICLR 2021, arXiv:2009.01027): a skip connection outside alpha on every edge, which decays along the search.

    It lends its stabilising effect to all operations alike. Its weight falls from ``skip_weight`` towards 0, and it is not derived.
    """
    scale = in_range(skip_weight, "skip_weight", at_least=0.0)

    def weight(progress: float) -> float:
        return scale * (1.0 - progress if decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress)))

    return Method(relax=softmax, auxiliary_skip=weight)
