"""The hand-made language models that a searched cell is compared with, by name: cores of a width that is found for them."""

from __future__ import annotations

import torch
from torch import nn

from darts_core.nets.lstm import Lstm
from darts_core.registry import Registry

LANGUAGE_BASELINES: Registry[nn.Module] = Registry("baseline of a language model", key="retrain.baselines")


@LANGUAGE_BASELINES.register("lstm")
def lstm(*, width: int) -> Lstm:
    """LSTM (Hochreiter and Schmidhuber 1997) in the same language model, as wide as gives it as many parameters."""
    return Lstm(width)


def width_of_equal_size(name: str, *, num_parameters: int, num_tokens: int) -> int:
    """Return the width D at which a language model of the core ``name`` comes nearest to ``num_parameters``.

    Counted are the core's, the embedding's (V times D; the decoder has the same) and the decoder's bias (V).
    """

    def size(width: int) -> int:
        with torch.device("meta"):
            core = LANGUAGE_BASELINES.get(name)(width=width)
        return num_tokens * (width + 1) + sum(p.numel() for p in core.parameters())

    low, high = 1, 2
    while size(high) < num_parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < num_parameters else (low, middle)
    return min((low, high), key=lambda width: abs(size(width) - num_parameters))
