"""SNAS."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import SingleLevel
from darts_core.search.costs import CountedCosts, ExpectedCost
from darts_core.search.gumbel import SoftGumbel
from darts_core.search.method import Method
from darts_core.search.ranges import in_range
from darts_core.search.temperature import geometric


@METHODS.register("snas")
def snas(
    *,
    temperature: float = 1.0,
    temperature_min: float = 0.03,
    resource: Literal["parameters", "macs"] | None = None,
    resource_scale: float = 1.0,
) -> Method:
    """SNAS (Xie et al., ICLR 2019, arXiv:1812.09926): weights drawn from a Gumbel softmax, alpha on the training batches, too.

    The temperature falls from ``temperature`` to ``temperature_min`` by the same factor each epoch; the paper gives no curve that could
    be checked. With ``resource`` the expected share that the architecture has of the dearest one's parameters or MACs, times
    ``resource_scale``, is added to the loss: the paper's constraint in units of our own.
    """
    scale = in_range(resource_scale, "resource_scale", above=0.0)
    if resource is None and scale != 1.0:
        raise ValueError(f"method.resource_scale has an effect with method.resource alone, parameters or macs. Got {scale:g}.")
    return Method(
        relax=SoftGumbel(),
        arch_gradient=SingleLevel(),
        temperature=geometric(temperature, temperature_min),
        penalties=() if resource is None else (ExpectedCost(scale, CountedCosts(resource)),),
    )
