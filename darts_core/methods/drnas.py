"""DrNAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.dirichlet import DirichletSample
from darts_core.search.method import Method
from darts_core.search.penalties import DirichletDivergence
from darts_core.search.phases import Phase
from darts_core.search.ranges import at_least, in_range


@METHODS.register("drnas")
def drnas(
    *,
    kl_scale: float = 0.0,
    progressive: bool = False,
    channel_proportions: tuple[int, int] | None = None,
    kept_operations: int | None = None,
) -> Method:
    """DrNAS (Chen et al., ICLR 2021, arXiv:2006.10355): each forward pass draws the weights from a Dirichlet distribution that is learnt.

    What holds its concentrations near 1 is search.arch_weight_decay, as in the published recipe, or with ``kl_scale`` (there 1e-3) the
    divergence from the uniform Dirichlet; then set the other to 0. Genotypes come from the mean.

    ``progressive`` has two phases: half-way each edge keeps the ``kept_operations`` (null: half of its own, rounded up) of largest mean,
    and one channel in four goes through the candidates where it was one in six (``channel_proportions``, null: 6 and 4), which are widened.
    The published recipe has no ``none`` in space.primitives (7, then 4 operations), space.init_channels 36, layers 20, search.epochs 50,
    lr 0.1, lr_min 0, arch_lr 6e-4, and warmup_epochs 10 in each phase.
    """
    scale = in_range(kl_scale, "kl_scale", at_least=0.0)
    given = {"channel_proportions": channel_proportions, "kept_operations": kept_operations}
    if not progressive and (named := [f"method.{key}" for key, value in given.items() if value is not None]):
        raise ValueError(f"{', '.join(named)}: set method.progressive to true, or leave it out: only the second phase reads it.")
    first, second = channel_proportions or (6, 4)
    if not 1 <= second <= first:
        raise ValueError(
            f"method.channel_proportions: two numbers of at least 1, the second no larger, expected. Got {first} and {second}."
        )
    kept = None if kept_operations is None else at_least(1, "kept_operations", kept_operations)
    two = (
        Phase(channel_proportion=first),
        Phase(channel_proportion=second, keeps=lambda count: (count + 1) // 2 if kept is None else kept),
    )
    return Method(
        relax=DirichletSample(),
        penalties=(DirichletDivergence(scale),) if scale else (),
        phases=two if progressive else (Phase(),),
    )
