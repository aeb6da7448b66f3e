"""ProxylessNAS."""

from __future__ import annotations

from typing import Any, Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import FirstOrder
from darts_core.search.gates import BinaryGates, pair_adam
from darts_core.search.method import Method
from darts_core.search.ranges import at_least
from darts_core.search.reinforce import Reinforce, Reward


@METHODS.register("proxyless")
def proxyless(
    *,
    warmup_epochs: int = 40,
    arch_gradient: Literal["first", "reinforce"] = "first",
    reward: Reward | None = None,
    entropy_weight: float | None = None,
    baseline_decay: float | None = None,
    draws: int | None = None,
) -> Method:
    """ProxylessNAS (Cai et al., ICLR 2019, arXiv:1812.00332): binary gates, one path for the weights and two for alpha; or REINFORCE.

    The published recipe has arch_lr 1e-3, arch_weight_decay 0 and an arch step every fifth weight step; here every one has its own.
    Its latency term is no part of this recipe. With ``arch_gradient: reinforce`` alpha moves by the ``reward`` (accuracy) of ``draws``
    (1) paths a step, beside an average that forgets by ``baseline_decay`` (0.99), and by ``entropy_weight`` (0) times alpha's entropy.
    """
    given = {"reward": reward, "entropy_weight": entropy_weight, "baseline_decay": baseline_decay, "draws": draws}
    own: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if own and arch_gradient != "reinforce":
        raise ValueError(f"method.{next(iter(own))} has an effect with method.arch_gradient: reinforce alone. Set it to null.")
    return Method(
        relax=BinaryGates(),
        arch_gradient=Reinforce(**own) if arch_gradient == "reinforce" else FirstOrder(),
        arch_optimizer=pair_adam,
        warmup_epochs=at_least(0, "warmup_epochs", warmup_epochs),
    )
