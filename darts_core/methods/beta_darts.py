"""Beta-DARTS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.method import Method
from darts_core.search.penalties import BetaDecay
from darts_core.search.ranges import in_range
from darts_core.search.relax import softmax


@METHODS.register("beta_darts")
def beta_darts(*, decay_scale: float = 50.0) -> Method:
    """Beta-DARTS (Ye et al., CVPR 2022, arXiv:2203.01665): a penalty on the smooth maximum of each edge's alphas holds them together.

    Its weight grows from 0 to ``decay_scale`` along the search; the published code has 50 on NAS-Bench-201, after 100 epochs.
    """
    return Method(relax=softmax, penalties=(BetaDecay(in_range(decay_scale, "decay_scale", at_least=0.0)),))
