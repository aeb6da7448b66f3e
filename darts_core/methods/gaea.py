"""GAEA."""

from __future__ import annotations

import torch

from darts_core.methods import METHODS
from darts_core.search.exponentiated import ExponentiatedGradient, onto_simplex
from darts_core.search.method import Method
from darts_core.search.relax import simplex, simplex_edges


@METHODS.register("gaea")
def gaea(*, edge_weights: bool = False) -> Method:
    """GAEA (Li et al., ICLR 2021, arXiv:2004.07802): the weights of the operations themselves, moved by exponentiated gradient.

    The published recipe has search.arch_lr 0.1 and arch_weight_decay 0; GAEA PC-DARTS adds channel_proportion 4 and ``edge_weights``, with
    search.batch_size 256 and lr 0.1.
    """
    return Method(
        relax=simplex,
        relax_edges=simplex_edges if edge_weights else None,
        start=torch.ones_like,
        arch_optimizer=ExponentiatedGradient,
        project=onto_simplex,
    )
