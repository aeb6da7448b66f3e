"""P-DARTS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.derive import SkipLimited
from darts_core.search.method import Method
from darts_core.search.phases import Phase
from darts_core.search.ranges import at_least, in_range
from darts_core.search.relax import softmax


@METHODS.register("p_darts")
def p_darts(
    *,
    add_layers: tuple[int, int, int] = (0, 6, 12),
    kept_operations: tuple[int, int] = (5, 3),
    skip_dropout: tuple[float, float, float] = (0.0, 0.4, 0.7),
    warmup_epochs: int = 10,
    skip_limit: int = 2,
    arch_grad_clip: float | None = 5.0,
) -> Method:
    """P-DARTS (Chen et al., ICCV 2019, arXiv:1904.12760): three supernets, each deeper than the last and with fewer operations an edge.

    Each has ``add_layers`` cells more than space.layers, weights and alphas of its own, a third of search.epochs, and alphas that stand
    still for the first ``warmup_epochs`` of these. ``kept_operations`` of an edge go on to the second and to the third. ``skip_dropout``
    is the rate on skip connections that each begins with. The normal cell keeps ``skip_limit`` skip connections at most. The published
    recipe has space.layers 5, search.epochs 75, batch_size 96, lr_min 0 and arch_lr 6e-4; its code's rates are 0.1, 0.4 and 0.7. As in
    that code (chenxin061/pdarts, train_search.py) the alphas' gradient is cut to the norm ``arch_grad_clip``; null: not at all.
    """
    for number, more in enumerate(add_layers):
        at_least(0, f"add_layers[{number}]", more)
    for number, kept in enumerate(kept_operations):
        at_least(1, f"kept_operations[{number}]", kept)
    rates = [in_range(rate, f"skip_dropout[{number}]", at_least=0.0, below=1.0) for number, rate in enumerate(skip_dropout)]
    keeps = (None, *((lambda count, kept=kept: kept) for kept in kept_operations))
    return Method(
        relax=softmax,
        phases=tuple(
            Phase(add_layers=more, keeps=kept, skip_dropout=rate, starts_anew=True) for more, kept, rate in zip(add_layers, keeps, rates)
        ),
        warmup_epochs=at_least(0, "warmup_epochs", warmup_epochs),
        arch_grad_clip=None if arch_grad_clip is None else in_range(arch_grad_clip, "arch_grad_clip", above=0.0),
        derive=SkipLimited(at_least(0, "skip_limit", skip_limit)),
    )
