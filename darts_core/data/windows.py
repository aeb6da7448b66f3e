"""Windows of a text for truncated backpropagation through time: side by side in a batch, one after another in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# quark0/darts, rnn/train.py and rnn/train_search.py (after salesforce/awd-lstm-lm).
_FULL_SHARE = 0.95  # of the windows whose mean length is bptt; half of that for the rest
_DEVIATION = 5.0
_SHORTEST = 5
_LONGEST_BEYOND = 20


class Window(NamedTuple):
    """Tokens and the ones that follow them, int64 (T, B). ``is_first``: the hidden state starts anew, else it is carried over."""

    x_TB: Tensor  # noqa: N815 - a suffix gives the shape
    y_TB: Tensor  # noqa: N815
    is_first: bool


def batchify(ids_N: Tensor, batch_size: int) -> Tensor:
    """Return the text as ``batch_size`` columns (L, B), each a contiguous piece; what is left over at the end is dropped."""
    length = len(ids_N) // batch_size
    return ids_N[: length * batch_size].view(batch_size, length).t().contiguous()


class Windows:
    """Iterate over the windows of a text, on ``device``; each new iterator is a new pass.

    With ``generator`` (CPU) their length varies, so that a token is not always at the same place of one: about ``bptt``, in a twentieth
    of cases half of it, normally distributed, from 5 to ``bptt`` + 20 steps (quark0/darts; Merity et al., arXiv:1708.02182). Without one
    each has ``bptt`` steps. The last one of a pass is what is left. Raise ``ValueError`` where the text is shorter than one window:
    ``keys`` are those of the batch size and of the length in params.yaml.
    """

    def __init__(
        self,
        ids_N: Tensor,
        batch_size: int,
        bptt: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        keys: tuple[str, str] = ("retrain.batch_size", "retrain.bptt"),
    ) -> None:
        if batch_size < 1 or bptt < 1:
            raise ValueError(f"{' and '.join(keys)} must be at least 1. Got {batch_size} and {bptt}.")
        if len(ids_N) < batch_size * (bptt + 1):
            raise ValueError(
                f"The text has {len(ids_N)} tokens, fewer than one batch of {batch_size} windows of {bptt} + 1. "
                f"Lower {keys[0]} or {keys[1]}, or give more text."
            )
        self.ids_LB = batchify(ids_N, batch_size).to(device)
        self.bptt = bptt
        self.generator = generator

    def __len__(self) -> int:
        """How many windows a pass has; where their length varies, about how many."""
        return -(-(len(self.ids_LB) - 1) // self.bptt)

    @property
    def num_tokens(self) -> int:
        """How many tokens a pass predicts."""
        return (len(self.ids_LB) - 1) * self.ids_LB.shape[1]

    def __iter__(self) -> Iterator[Window]:
        start, last = 0, len(self.ids_LB) - 1
        while start < last:
            end = min(start + self._length(), last)
            if self.generator is not None and last - end == 1:
                end = last  # a single step is nothing to learn from
            yield Window(self.ids_LB[start:end], self.ids_LB[start + 1 : end + 1], start == 0)
            start = end

    def _length(self) -> int:
        if self.generator is None:
            return self.bptt
        is_full = float(torch.rand((), generator=self.generator)) < _FULL_SHARE
        drawn = (self.bptt if is_full else self.bptt / 2) + _DEVIATION * float(torch.randn((), generator=self.generator))
        return min(max(_SHORTEST, int(drawn)), self.bptt + _LONGEST_BEYOND)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next pass depends on: the generator's state (None without one)."""
        return {"generator": None if self.generator is None else self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; the next pass is the one that would have come."""
        if self.generator is not None:
            self.generator.set_state(state["generator"])


class CycleWindows:
    """Windows without end: pass after pass over one text, however the caller pauses; it resumes bit for bit."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self._started = windows.state_dict()
        self._taken = 0
        self._pass: Iterator[Window] = iter(windows)

    def __iter__(self) -> Iterator[Window]:
        return self

    def __next__(self) -> Window:
        window = next(self._pass, None)
        if window is None:
            self._started, self._taken, self._pass = self.windows.state_dict(), 0, iter(self.windows)
            window = next(self._pass)
        self._taken += 1
        return window

    def state_dict(self) -> dict[str, Any]:
        """Return how the present pass began and how many of its windows were taken."""
        return {"started": self._started, "taken": self._taken, "length": len(self.windows.ids_LB)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`. Raise ``ValueError`` where it belongs to another text or batch size."""
        if state["length"] != len(self.windows.ids_LB):
            raise ValueError(
                f"The saved position is of columns of {state['length']} tokens; these have {len(self.windows.ids_LB)}. "
                "Change params.yaml back or start afresh."
            )
        self._started, self._taken = state["started"], int(state["taken"])
        self.windows.load_state_dict(self._started)
        self._pass = iter(self.windows)
        for _ in range(self._taken):
            next(self._pass)
