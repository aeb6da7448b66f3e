"""Locked dropout of a language model: one mask for all time steps of a window (Gal and Ghahramani, arXiv:1512.05287)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Probabilities, each in [0, 1): whole words of the ``embedding``, its outputs (``inputs``), what the cell's gates see of the input
    (``gates``) and of a state (``hidden``), the cell's ``outputs``.

    In quark0/darts, rnn/train.py, they are called dropoute, dropouti, dropoutx, dropouth and dropout.
    """

    embedding: float = 0.0
    inputs: float = 0.0
    gates: float = 0.0
    hidden: float = 0.0
    outputs: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"dropout_{field.name} must be at least 0 and below 1. Got {value}.")


class Masks(NamedTuple):
    """What a window is multiplied by, 0 or 1 / (1 - probability); None: nothing is dropped."""

    words_V1: Tensor | None = None  # noqa: N815
    inputs_BD: Tensor | None = None  # noqa: N815
    gates_BD: Tensor | None = None  # noqa: N815
    hidden_BD: Tensor | None = None  # noqa: N815
    outputs_BD: Tensor | None = None  # noqa: N815


class Noise(nn.Module):
    """Draws masks on the CPU, from a random stream of its own; the stream's state is in the ``state_dict``."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        self._random = torch.Generator().manual_seed(seed).get_state()

    def masks(self, dropout: Dropout, *, num_tokens: int, batch: int, width: int, like: Tensor) -> Masks:
        """Return fresh masks on the device and of the kind of ``like``; where a probability is 0, nothing is drawn."""
        generator = torch.Generator()
        generator.set_state(self._random)

        def drawn(prob: float, *shape: int) -> Tensor | None:
            if prob == 0.0:
                return None
            kept = torch.rand(shape, generator=generator, device="cpu") < 1.0 - prob
            return kept.to(device=like.device, dtype=like.dtype) / (1.0 - prob)

        masks = Masks(
            words_V1=drawn(dropout.embedding, num_tokens, 1),
            inputs_BD=drawn(dropout.inputs, batch, width),
            gates_BD=drawn(dropout.gates, batch, width),
            hidden_BD=drawn(dropout.hidden, batch, width),
            outputs_BD=drawn(dropout.outputs, batch, width),
        )
        self._random = generator.get_state()
        return masks

    def get_extra_state(self) -> Tensor:
        """Return the state of the random numbers, for the ``state_dict``."""
        return self._random.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self._random = state.cpu().clone()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``x`` times a mask of its last dimensions, if there is one."""
    return x if mask is None else x * mask
