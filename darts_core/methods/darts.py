"""DARTS."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import ARCH_GRADIENTS
from darts_core.search.method import Method
from darts_core.search.relax import softmax


@METHODS.register("darts")
def darts(*, arch_gradient: Literal["first", "unrolled", "exact"] = "first") -> Method:
    """DARTS (Liu et al., ICLR 2019, arXiv:1806.09055): softmax over the operations; first order, unrolled or exact second order."""
    return Method(relax=softmax, arch_gradient=ARCH_GRADIENTS.build(arch_gradient))
