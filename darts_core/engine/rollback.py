"""The states of a search that it may go back to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from darts_core.search.curvature import CurvatureRise
from darts_core.search.steps import Bilevel

LOG = logging.getLogger(__name__)
Row = Mapping[str, Any]


class Clock:
    """Epochs from ``first``, up to ``epochs``, which end; ``next`` is the one to come and may be set."""

    def __init__(self, first: int, epochs: int) -> None:
        self.next = first
        self._epochs = epochs

    def __iter__(self) -> Iterator[int]:
        while self.next < self._epochs:
            self.next += 1
            yield self.next - 1


class Rollback:
    """States of the last measured epochs, on the CPU, and how often the search has started again; nothing where it never goes back."""

    def __init__(self, bilevel: Bilevel) -> None:
        self._bilevel = bilevel
        self._rise = next((rule for rule in bilevel.method.stop if isinstance(rule, CurvatureRise)), None)
        self._states: dict[int, dict[str, Any]] = {}
        self.restarts = 0
        cfg = bilevel.cfg
        if self._rise is not None:
            every, warmup = cfg.hessian_every or bilevel.method.hessian_every, bilevel.method.warmup_epochs
            if (why := self._rise.why_never(every, warmup_epochs=warmup, epochs=cfg.epochs)) is not None:
                LOG.warning("search: %s", why)

    def row(self) -> dict[str, float]:
        """Return what is logged: how often the search has started again, and the weight decay since, where it may."""
        if self._bilevel.method.restart is None:
            return {}
        return {"restarts": self.restarts, "weight_decay": self._bilevel.weight_decay}

    def note(self, history: Sequence[Row]) -> None:
        """Keep the present state, if the last epoch was measured."""
        if self._rise is None or "hessian" not in history[-1]:
            return
        supernet = self._bilevel.supernet
        self._states[history[-1]["epoch"]] = _on_cpu({"supernet": supernet.state_dict(), "bilevel": self._bilevel.state_dict()})
        for epoch in sorted(self._states)[: -self._rise.depth]:
            del self._states[epoch]

    def restart(self, history: Sequence[Row]) -> int | None:
        """Go back to before a rise with a higher weight decay; return the epoch, or None where the search ends instead."""
        adapt = self._bilevel.method.restart
        decay = self._bilevel.weight_decay
        if adapt is None or not adapt.can_raise(decay):
            return None
        epoch = self.go_back(history)
        if epoch is not None:
            self._bilevel.weight_decay = decay * adapt.factor
            self.restarts += 1
            self._states.clear()
            LOG.info("search: goes on from epoch %d with weight decay %.2g in place of %.2g.", epoch, decay * adapt.factor, decay)
        return epoch

    def go_back(self, history: Sequence[Row]) -> int | None:
        """Restore supernet and optimisers as they were before the rise that the last epoch shows; return that epoch, or None."""
        epoch = None if self._rise is None else self._rise.epoch_before(history)
        if epoch is not None:
            state = self._states[epoch]
            self._bilevel.supernet.load_state_dict(state["supernet"])
            self._bilevel.load_state_dict(state["bilevel"])
        return epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the states and the count."""
        return {"states": dict(self._states), "restarts": self.restarts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._states, self.restarts = dict(state["states"]), state["restarts"]


def _on_cpu(value: Any) -> Any:
    """Return a copy of a state."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _on_cpu(each) for key, each in value.items()}
    return [_on_cpu(each) for each in value] if isinstance(value, list) else value
