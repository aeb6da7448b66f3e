"""FairDARTS."""

from __future__ import annotations

from functools import partial

import torch

from darts_core.methods import METHODS
from darts_core.search.derive import GateThreshold
from darts_core.search.method import Method, adam
from darts_core.search.penalties import ZeroOneLoss
from darts_core.search.ranges import in_range
from darts_core.search.relax import sigmoid_gates

plain_adam = partial(adam, betas=(0.9, 0.999))  # those of torch, as in the published code


@METHODS.register("fair_darts")
def fair_darts(*, zero_one_scale: float = 10.0, gate_threshold: float = 0.85) -> Method:
    """FairDARTS (Chu et al., ECCV 2020, arXiv:1911.12126): a gate for each operation instead of a contest between them.

    A penalty drives the gates to 0 or 1, and the cell keeps what reached ``gate_threshold``, two edges a node at most. The published
    recipe leaves ``none`` out of space.primitives, with search.batch_size 128, lr 0.005, arch_lr 3e-3 and 50 epochs; alpha
    moves by Adam with its betas, (0.9, 0.999).
    """
    return Method(
        relax=sigmoid_gates,
        arch_optimizer=plain_adam,
        start=torch.zeros_like,
        penalties=(ZeroOneLoss(in_range(zero_one_scale, "zero_one_scale", at_least=0.0)),),
        derive=GateThreshold(in_range(gate_threshold, "gate_threshold", above=0.0, below=1.0)),
    )
