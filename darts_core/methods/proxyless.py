"""ProxylessNAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.gates import BinaryGates, pair_adam
from darts_core.search.method import Method


@METHODS.register("proxyless")
def proxyless(*, warmup_epochs: int = 40) -> Method:
    """ProxylessNAS (Cai et al., ICLR 2019, arXiv:1812.00332): binary gates; one path for the weights, two for alpha.

    The published recipe has arch_lr 1e-3, arch_weight_decay 0 and an arch step every fifth weight step; here every one has its own.
    Its latency term is no part of this recipe.
    """
    if warmup_epochs < 0:
        raise ValueError(f"method.warmup_epochs must be at least 0. Got {warmup_epochs}.")
    return Method(relax=BinaryGates(), arch_optimizer=pair_adam, warmup_epochs=warmup_epochs)
