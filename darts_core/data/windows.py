"""Windows of a text: a few steps in time at once, with the hidden state carried from one to the next (truncated back-propagation)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from darts_core.config.language import LEAST_BPTT

# quark0/darts, rnn/train.py: half the length in 5 % of cases, then N(length, 5), at least 5 and at most 20 more than usual
SHORT_SHARE, SPREAD, EXCESS = 0.05, 5.0, 20


class Window:
    """Tokens (T, B) and the state (S, B, D) that they begin in, None at the start of a text.

    ``share`` is T by the usual length: a longer window's gradient is worth more, and the learning rate is scaled by it. A forward pass of a
    supernet notes here the state that it ends in, ``next_state``, and the masks that it drew: every pass over this window has the same, so
    that passes that are compared differ in nothing but what is compared.
    """

    def __init__(self, tokens_TB: Tensor, state_SBD: Tensor | None = None, *, share: float = 1.0) -> None:
        self.tokens_TB = tokens_TB
        self.state_SBD = state_SBD
        self.share = share
        self.next_state: Tensor | None = None
        self.masks: tuple[Tensor | None, ...] | None = None

    def to(self, device: torch.device, *, non_blocking: bool = False, memory_format: torch.memory_format | None = None) -> Window:
        """Move to ``device`` and return itself; tokens have no memory format."""
        self.tokens_TB = self.tokens_TB.to(device, non_blocking=non_blocking)
        self.state_SBD = None if self.state_SBD is None else self.state_SBD.to(device, non_blocking=non_blocking)
        return self


class Windows:
    """Yields (window, targets (T * B,)) of B texts side by side, tokens (L, B), in order; a pass begins without a state.

    ``bptt`` is a window's length; with ``generator`` it varies from window to window, as in the reference. An endless one begins anew after
    its last window; its place and state are in the ``state_dict``, so that it goes on where it was.
    """

    def __init__(self, tokens_LB: Tensor, bptt: int, *, generator: torch.Generator | None = None, is_endless: bool = False) -> None:
        if bptt < 1:
            raise ValueError(f"space.bptt must be at least 1. Got {bptt}.")
        if len(tokens_LB) < 2:
            raise ValueError(f"The text is too short for its columns: at least 2 tokens a column expected. Got {len(tokens_LB)}.")
        self.tokens_LB = tokens_LB
        self.bptt = bptt
        self.generator = generator
        self.is_endless = is_endless
        self._place = 0
        self._begin: Tensor | None = None
        self._last: Window | None = None  # whose pass has yet to leave the state that the next one begins in

    def __len__(self) -> int:
        """Return about how many windows a pass has: exactly as many, where their length does not vary."""
        return -(-(len(self.tokens_LB) - 1) // self.bptt)

    def __iter__(self) -> Iterator[tuple[Window, Tensor]]:
        if not self.is_endless:
            self._rewind()
        while True:
            yield from self._rest()
            self._rewind()
            if not self.is_endless:
                return

    def _rest(self) -> Iterator[tuple[Window, Tensor]]:
        last = len(self.tokens_LB) - 1
        while self._place < last:
            length = min(self._length(), last - self._place)
            if self.generator is not None and last - self._place - length == 1:
                length += 1  # no window of a single token is left over
            span = self.tokens_LB[self._place : self._place + length + 1]
            window = Window(span[:-1], self._state, share=length / self.bptt)
            self._place += length
            self._last = window
            yield window, span[1:].flatten()

    def _rewind(self) -> None:
        self._place, self._begin, self._last = 0, None, None

    @property
    def _state(self) -> Tensor | None:
        return self._begin if self._last is None else self._last.next_state

    def _length(self) -> int:
        if self.generator is None:
            return self.bptt
        base = self.bptt / 2 if float(torch.rand((), generator=self.generator)) < SHORT_SHARE else self.bptt
        drawn = int(base + SPREAD * float(torch.randn((), generator=self.generator)))
        return min(max(LEAST_BPTT, drawn), self.bptt + EXCESS)

    def state_dict(self) -> dict[str, Any]:
        """Return place, carried state and the random state of the lengths."""
        return {
            "place": self._place,
            "state": self._state,
            "generator": None if self.generator is None else self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self._place, self._begin, self._last = state["place"], state["state"], None
        if self.generator is not None:
            self.generator.set_state(state["generator"])
