"""DrNAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.dirichlet import DirichletSample
from darts_core.search.method import Method
from darts_core.search.penalties import DirichletDivergence
from darts_core.search.ranges import in_range


@METHODS.register("drnas")
def drnas(*, kl_scale: float = 0.0) -> Method:
    """DrNAS (Chen et al., ICLR 2021, arXiv:2006.10355): each forward pass draws the weights from a Dirichlet distribution that is learnt.

    What holds its concentrations near 1 is search.arch_weight_decay, as in the published recipe, or with ``kl_scale`` (there 1e-3) the
    divergence from the uniform Dirichlet; then set the other to 0. Genotypes come from the mean. One phase: the published search prunes
    and widens half-way, with channel_proportion 6 and then 4.
    """
    scale = in_range(kl_scale, "kl_scale", at_least=0.0)
    return Method(relax=DirichletSample(), penalties=(DirichletDivergence(scale),) if scale else ())
