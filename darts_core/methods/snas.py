"""SNAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.bilevel import SingleLevel
from darts_core.search.gumbel import SoftGumbel
from darts_core.search.method import Method
from darts_core.search.temperature import geometric


@METHODS.register("snas")
def snas(*, temperature: float = 1.0, temperature_min: float = 0.03) -> Method:
    """SNAS (Xie et al., ICLR 2019, arXiv:1812.09926): weights drawn from a Gumbel softmax, alpha on the training batches, too.

    The temperature falls from ``temperature`` to ``temperature_min`` by the same factor each epoch; the paper gives no curve that could
    be checked. Its resource constraint is no part of this recipe.
    """
    return Method(relax=SoftGumbel(), arch_gradient=SingleLevel(), temperature=geometric(temperature, temperature_min))
