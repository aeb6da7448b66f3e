"""RobustDARTS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.curvature import AdaptiveDecay, CurvatureRise
from darts_core.search.method import Method
from darts_core.search.ranges import at_least, in_range
from darts_core.search.relax import softmax


@METHODS.register("robust_darts")
def robust_darts(
    *,
    rise_limit: float = 1.3,
    window: int = 5,
    lag: int = 4,
    first_epoch: int = 10,
    weight_decay_factor: float = 1.0,
    drop_path_prob: float = 0.0,
    adaptive: bool = False,
) -> Method:
    """RobustDARTS (Zela et al., ICLR 2020, arXiv:1909.09656): ends when the Hessian's eigenvalue rises, and goes back to before it.

    The mean of ``window`` eigenvalues is held against that of ``lag`` measurements before; a rise above ``rise_limit`` takes the search
    back to the epoch in the middle of the older ones, ``first_epoch`` or later. It is measured every search.hessian_every epochs, here 2
    where that is 0. The weights decay by ``weight_decay_factor`` (published: 1 to 81) times search.weight_decay; paths drop in weight steps
    with a probability that grows from 0 to ``drop_path_prob``, which eager computes where the backend is native or compiled. ``adaptive``
    goes on from before a rise with ten times the decay, while that is at most 0.03. The paper's gradient is unrolled.
    """
    rise = CurvatureRise(
        limit=in_range(rise_limit, "rise_limit", above=1.0),
        window=at_least(1, "window", window),
        lag=at_least(1, "lag", lag),
        first_epoch=at_least(1, "first_epoch", first_epoch),
    )
    return Method(
        relax=softmax,
        stop=(rise,),
        restart=AdaptiveDecay() if adaptive else None,
        hessian_every=2,
        weight_decay_factor=in_range(weight_decay_factor, "weight_decay_factor", at_least=0.0),
        drop_path_prob=in_range(drop_path_prob, "drop_path_prob", at_least=0.0, below=1.0),
    )
