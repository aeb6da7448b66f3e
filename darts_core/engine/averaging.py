"""The running mean of weights over the steps of a training: averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The mean of ``parameters`` over all steps since it was made, each step counting alike (Polyak and Juditsky 1992).

    quark0/darts (rnn/train.py) has it from torch's ASGD with lambd 0 and t0 0, which leaves out the first step.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._mean = [p.detach().clone() for p in parameters]
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self._steps += 1
        torch._foreach_lerp_(self._mean, list(self._parameters), 1.0 / self._steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters be their mean for a while."""
        own = [p.detach().clone() for p in self._parameters]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return means and number of steps."""
        return {"mean": [mean.clone() for mean in self._mean], "steps": self._steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        for mean, value in zip(self._mean, state["mean"], strict=True):
            mean.copy_(value)
        self._steps = int(state["steps"])
