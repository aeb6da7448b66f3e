"""A language model: tied embedding, a recurrent core, dropout that is locked over time (quark0/darts, rnn/model.py)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.nets.dropout import Dropout, Masks, Noise, masked
from darts_core.ops import decoder

EMBEDDING_SCALE = 0.1  # quark0/darts, rnn/model.py: uniform in [-0.1, 0.1]; the decoder's bias starts at 0


class Core(Protocol):
    """What maps inputs (T, B, D) and a state (S, B, D) to outputs (T, B, D) and the next state; a module of ``width`` D.

    ``num_states`` is S: 1, or 2 where a state has two parts, as an LSTM's.
    """

    width: int
    num_states: int

    def __call__(self, x_TBD: Tensor, state_SBD: Tensor, masks: Masks) -> tuple[Tensor, Tensor]: ...  # noqa: D102


class LanguageOutput(NamedTuple):
    """``logits_NV`` of all T * B tokens, time first; the next state, still in the graph; the core's outputs before and after dropout."""

    logits_NV: Tensor  # noqa: N815
    state_SBD: Tensor  # noqa: N815
    raw_TBD: Tensor  # noqa: N815
    dropped_TBD: Tensor  # noqa: N815


class CoreOutput(NamedTuple):
    """The next state, still in the graph, and the core's outputs before and after dropout."""

    state_SBD: Tensor  # noqa: N815
    raw_TBD: Tensor  # noqa: N815
    dropped_TBD: Tensor  # noqa: N815


class LanguageModel(nn.Module):
    """Tokens (T, B) and a state (S, B, D) -> logits of the next tokens. Embedding and decoder have the same weights (arXiv:1608.05859).

    The masks of ``dropout`` come from a random stream of the model's own, seeded from ``generator``, whose state is in the ``state_dict``.
    """

    def __init__(self, core: Core, *, num_tokens: int, dropout: Dropout, generator: torch.Generator) -> None:
        super().__init__()
        self.core = core
        self.dropout = dropout
        self.num_tokens = num_tokens
        self.embedding = nn.Embedding(num_tokens, core.width)
        nn.init.uniform_(self.embedding.weight, -EMBEDDING_SCALE, EMBEDDING_SCALE)
        self.bias = nn.Parameter(torch.zeros(num_tokens))
        self.noise = Noise(generator)

    def first_state(self, batch: int) -> Tensor:
        """Return the state (S, B, D) ahead of a text: zeros."""
        return self.bias.new_zeros(self.core.num_states, batch, self.core.width)

    def masks(self, batch: int) -> Masks:
        """Return the masks of a window of ``batch`` columns: fresh ones in training mode, else none."""
        if not self.training:
            return Masks()
        return self.noise.masks(self.dropout, num_tokens=self.num_tokens, batch=batch, width=self.core.width, like=self.bias)

    def forward(self, tokens_TB: Tensor, state_SBD: Tensor) -> LanguageOutput:
        """Return logits, the state after the last token, and the core's outputs."""
        out = self.core_output(tokens_TB, state_SBD)
        return LanguageOutput(self._logits(out.dropped_TBD), *out)

    def core_output(self, tokens_TB: Tensor, state_SBD: Tensor) -> CoreOutput:
        """Return what :meth:`forward` does but for the logits, which :meth:`mean_loss` and :meth:`losses` never hold all of."""
        masks = self.masks(tokens_TB.shape[1])
        raw, state = self.core(self.embedded(tokens_TB, masks), state_SBD, masks)
        return CoreOutput(state, raw, masked(raw, masks.outputs_BD))

    def mean_loss(self, dropped_TBD: Tensor, target_N: Tensor) -> Tensor:
        """Return the mean cross entropy (nats a token) of what follows from a core's outputs, a scalar."""
        return decoder.mean_loss(dropped_TBD.flatten(0, 1), self.embedding.weight, self.bias, target_N)

    def losses(self, dropped_TBD: Tensor, target_N: Tensor) -> Tensor:
        """Return the cross entropy (nats) of each token in float64, (N,), without gradient."""
        return decoder.losses(dropped_TBD.flatten(0, 1), self.embedding.weight, self.bias, target_N)

    def embedded(self, tokens_TB: Tensor, masks: Masks) -> Tensor:
        """Return what the core reads, (T, B, D)."""
        x_TBD = self.embedding(tokens_TB)
        if masks.words_V1 is not None:
            x_TBD = x_TBD * masks.words_V1[tokens_TB]
        return masked(x_TBD, masks.inputs_BD)

    def decoded(self, raw_TBD: Tensor, state_SBD: Tensor, masks: Masks) -> LanguageOutput:
        """Return everything that follows from the core's outputs."""
        dropped_TBD = masked(raw_TBD, masks.outputs_BD)
        return LanguageOutput(self._logits(dropped_TBD), state_SBD, raw_TBD, dropped_TBD)

    def _logits(self, dropped_TBD: Tensor) -> Tensor:
        return F.linear(dropped_TBD.flatten(0, 1), self.embedding.weight, self.bias)


def activation_penalty(raw_TBD: Tensor, dropped_TBD: Tensor, *, activation: float, slowness: float) -> Tensor:
    """Return ``activation * mean(dropped^2) + slowness * mean((raw[t + 1] - raw[t])^2)`` (arXiv:1708.01009), a scalar.

    They are a core's outputs before and after dropout. A window of one token has no difference in time, and so no slowness.
    """
    penalty = raw_TBD.new_zeros(())
    if activation:
        penalty = penalty + activation * dropped_TBD.square().mean()
    if slowness and len(raw_TBD) > 1:
        penalty = penalty + slowness * raw_TBD.diff(dim=0).square().mean()
    return penalty
