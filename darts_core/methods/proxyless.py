"""ProxylessNAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.costs import ExpectedCost, NamedCosts
from darts_core.search.gates import BinaryGates, pair_adam
from darts_core.search.method import Method
from darts_core.search.ranges import in_range


@METHODS.register("proxyless")
def proxyless(
    *,
    warmup_epochs: int = 40,
    latency_ms: dict[str, float] | None = None,
    latency_target_ms: float | None = None,
    latency_scale: float = 1.0,
) -> Method:
    """ProxylessNAS (Cai et al., ICLR 2019, arXiv:1812.00332): binary gates; one path for the weights, two for alpha.

    The published recipe has arch_lr 1e-3, arch_weight_decay 0 and an arch step every fifth weight step; here every one has its own.
    ``latency_ms`` gives for each operation of the space the milliseconds that were measured on the device in mind, at the widths in mind.
    Then ``latency_scale`` times the expected sum over all cells of the supernet, divided by ``latency_target_ms`` (null: that of the
    slowest architecture), is added to the loss; the paper's form for gates multiplies the loss by a power of it instead.
    """
    given = {"latency_target_ms": latency_target_ms is not None, "latency_scale": latency_scale != 1.0}
    if latency_ms is None and any(given.values()):
        raise ValueError(f"{', '.join(f'method.{key}' for key, on in given.items() if on)}: only method.latency_ms gives it an effect.")
    if latency_target_ms is not None:
        in_range(latency_target_ms, "latency_target_ms", above=0.0)
    scale = in_range(latency_scale, "latency_scale", above=0.0)
    if warmup_epochs < 0:
        raise ValueError(f"method.warmup_epochs must be at least 0. Got {warmup_epochs}.")
    latency = None if latency_ms is None else ExpectedCost(scale, NamedCosts(latency_ms, "method.latency_ms"), latency_target_ms)
    return Method(
        relax=BinaryGates(),
        arch_optimizer=pair_adam,
        warmup_epochs=warmup_epochs,
        penalties=() if latency is None else (latency,),
    )
