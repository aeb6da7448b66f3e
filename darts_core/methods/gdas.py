"""GDAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.gumbel import HardGumbel
from darts_core.search.method import Method
from darts_core.search.temperature import linear


@METHODS.register("gdas")
def gdas(*, temperature: float = 10.0, temperature_min: float = 0.1) -> Method:
    """GDAS (Dong and Yang, CVPR 2019, arXiv:1910.04465): one operation an edge, drawn by hard Gumbel noise, is computed.

    The temperature falls from ``temperature`` to ``temperature_min`` along a line. The published recipe takes 250 epochs with
    search.batch_size 256, weight_decay 5e-4, Nesterov momentum and a weight step before each arch step; here the arch step is first.
    """
    return Method(relax=HardGumbel(), temperature=linear(temperature, temperature_min))
