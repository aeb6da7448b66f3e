"""PC-DARTS."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import ARCH_GRADIENTS
from darts_core.search.method import Method
from darts_core.search.relax import softmax, softmax_edges


@METHODS.register("pc_darts")
def pc_darts(
    *, channel_proportion: int = 4, warmup_epochs: int = 15, arch_gradient: Literal["first", "unrolled", "exact"] = "first"
) -> Method:
    """PC-DARTS (Xu et al., ICLR 2020, arXiv:1907.05737): one channel in four goes through the candidates, and edges have weights, too.

    The published recipe leaves alpha and beta alone for 15 of 50 epochs, with search.batch_size 256, lr 0.1, lr_min 0 and arch_lr 6e-4.
    """
    if channel_proportion < 1:
        raise ValueError(f"method.channel_proportion must be at least 1. Got {channel_proportion}.")
    if warmup_epochs < 0:
        raise ValueError(f"method.warmup_epochs must be at least 0. Got {warmup_epochs}.")
    return Method(
        relax=softmax,
        relax_edges=softmax_edges,
        channel_proportion=channel_proportion,
        warmup_epochs=warmup_epochs,
        arch_gradient=ARCH_GRADIENTS.build(arch_gradient),
    )
