"""ProxylessNAS."""

from __future__ import annotations

from typing import Any, Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import FirstOrder
from darts_core.search.costs import ExpectedCost, NamedCosts
from darts_core.search.gates import BinaryGates, pair_adam, policy_adam
from darts_core.search.method import Method
from darts_core.search.ranges import at_least, in_range
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
    latency_ms: dict[str, float] | None = None,
    latency_target_ms: float | None = None,
    latency_scale: float = 1.0,
) -> Method:
    """ProxylessNAS (Cai et al., ICLR 2019, arXiv:1812.00332): binary gates, one path for the weights and two for alpha; or REINFORCE.

    The published recipe has arch_lr 1e-3, arch_weight_decay 0 and an arch step every fifth weight step; here every one has its own.
    With ``arch_gradient: reinforce`` alpha moves by the ``reward`` (accuracy) of ``draws`` (1) paths a step, beside an average that forgets
    by ``baseline_decay`` (0.99), and by ``entropy_weight`` (0) times alpha's entropy.

    ``latency_ms`` gives for each operation of the space the milliseconds that were measured on the device in mind, at the widths in mind.
    Then ``latency_scale`` times the expected sum over all cells of the supernet, divided by ``latency_target_ms`` (null: that of the
    slowest architecture), is added to the loss; the paper's form for gates multiplies the loss by a power of it instead.
    """
    given = {"reward": reward, "entropy_weight": entropy_weight, "baseline_decay": baseline_decay, "draws": draws}
    own: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if own and arch_gradient != "reinforce":
        raise ValueError(f"method.{next(iter(own))} has an effect with method.arch_gradient: reinforce alone. Set it to null.")
    alone = {"latency_target_ms": latency_target_ms is not None, "latency_scale": latency_scale != 1.0}
    if latency_ms is None and any(alone.values()):
        raise ValueError(f"{', '.join(f'method.{key}' for key, on in alone.items() if on)}: only method.latency_ms gives it an effect.")
    if latency_target_ms is not None:
        in_range(latency_target_ms, "latency_target_ms", above=0.0)
    scale = in_range(latency_scale, "latency_scale", above=0.0)
    latency = None if latency_ms is None else ExpectedCost(scale, NamedCosts(latency_ms, "method.latency_ms"), latency_target_ms)
    return Method(
        relax=BinaryGates(),
        arch_gradient=Reinforce(**own) if arch_gradient == "reinforce" else FirstOrder(),
        arch_optimizer=policy_adam if arch_gradient == "reinforce" else pair_adam,
        warmup_epochs=at_least(0, "warmup_epochs", warmup_epochs),
        penalties=() if latency is None else (latency,),
    )
