"""The language model whose recurrent cell is relaxed (Liu et al., ICLR 2019, arXiv:1806.09055, section 3.1.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts_core.data.windows import Window
from darts_core.metrics import perplexity
from darts_core.nets.dropout import Dropout, Masks, masked
from darts_core.nets.language_model import LanguageModel, activation_penalty
from darts_core.ops.native.decoder import DecodedLoss
from darts_core.ops.native.library import RECURRENT
from darts_core.ops.native.recurrent import NativeSteps
from darts_core.ops.recurrent_steps import ORDER
from darts_core.supernet.backend import Backend, Reference
from darts_core.supernet.offer import EdgePrimitives
from darts_core.supernet.recurrent_cell import RecurrentSearchCell
from darts_core.supernet.sampled import Sampled, Weights
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet

CELL = "normal"
_TRIAL_STEPS = 5
_LARGEST_LOSS = 700.0  # of which a perplexity can be told


class Undecoded(NamedTuple):
    """What logits are made of: the core's outputs (N, D) after dropout, and the decoder's weights (V, D) and bias (V,)."""

    x_ND: Tensor  # noqa: N815
    weight_VD: Tensor  # noqa: N815
    bias_V: Tensor  # noqa: N815


class RecurrentSupernet(Supernet):
    """Windows (T, B) -> logits (T * B, V) of the next tokens, time first.

    A pass leaves the state that it ends in with the window. The weight step's loss has an ``activation`` and a ``slowness`` penalty on the
    cell's outputs, the arch step's has none. The reference clips its virtual step, and leaves the embedding out of it: it loads the moved
    one, and then the decoder's, which is the same tensor and has not moved (quark0/darts, rnn/architect.py).
    """

    arch_betas = (0.9, 0.999)
    clips_virtual_step = True
    held_virtually = frozenset({"model.embedding.weight"})
    backends = ("reference", "eager", "native")
    kernels = RECURRENT
    can_be_lean = False
    ranks_by_loss = True  # ENAS, too, ranks cells by perplexity, and accuracies of a text have many equals
    auxiliary_weight = None

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        shape: CellShape,
        width: int,
        num_tokens: int,
        relax: Relaxation,
        generator: torch.Generator,
        dropout: Dropout,
        activation: float,
        slowness: float,
        relax_edges: EdgeRelaxation | None = None,
        edge_primitives: EdgePrimitives | None = None,
    ) -> None:
        super().__init__(
            primitives,
            shape=shape,
            cell_types=(CELL,),
            relax=relax,
            generator=generator,
            relax_edges=relax_edges,
            edge_primitives=edge_primitives,
        )
        self.activation, self.slowness = activation, slowness
        cell = RecurrentSearchCell(self.primitives, nodes=shape.nodes, width=width)
        self.model = LanguageModel(cell, num_tokens=num_tokens, dropout=dropout, generator=generator)
        self._drops = self.training

    def train(self, mode: bool = True) -> RecurrentSupernet:
        """Set the mode, and with it whether anything is dropped."""
        self._drops = mode
        super().train(mode)
        return self

    def only_for_reference(self) -> list[str]:
        """Return activations of one's own: all others are computed together, in a fixed order."""
        return [name for name in self.primitives if name not in ("none", *ORDER)]

    def assessing(self) -> None:
        """Where paths are drawn, each batch is normalised by its own statistics.

        The running ones are of the paths of the last few tokens; with them the states of another path can grow from token to token.
        """
        super().assessing()
        if isinstance(self.relax, Sampled):
            self.cell.bn.train()

    def ranking(self) -> None:
        """Normalise each batch by its own statistics, and drop nothing: masks would favour one architecture or another."""
        super().ranking()
        self._drops = False

    def quality_text(self, quality: float) -> str:
        """Return it as a perplexity."""
        return f"a perplexity of {perplexity(-quality):.2f}"

    def use(self, backend: Backend, device: torch.device, *, is_lean: bool = False) -> None:
        """Move to ``device`` and compute by ``backend``; there is no lean mode."""
        assert not is_lean
        assert backend.name in self.backends
        self.backend = backend
        self.__dict__.pop("_weights", None)
        self.to(device)

    def forward(self, window: Window) -> Tensor:
        """Return the logits."""
        return self.model.decoded(*self._pass(window)).logits_NV

    def scores(self, inputs: Window) -> Tensor | Undecoded:
        """Return what :meth:`loss` reads: the logits, or ``Undecoded`` for the kernels, to which decoder and cross entropy are one."""
        return self._scored(inputs)[0]

    def regularised(self, inputs: Window) -> tuple[Tensor | Undecoded, Tensor | None]:
        """Return :meth:`scores`, and what the weight step adds to their loss."""
        scores, raw, dropped = self._scored(inputs)
        return scores, activation_penalty(raw, dropped, activation=self.activation, slowness=self.slowness)

    def _scored(self, window: Window) -> tuple[Tensor | Undecoded, Tensor, Tensor]:
        raw, state, masks = self._pass(window)
        if self.backend.name != "native":
            logits, _, _, dropped = self.model.decoded(raw, state, masks)
            return logits, raw, dropped
        dropped = masked(raw, masks.outputs_BD)
        return Undecoded(dropped.flatten(0, 1), self.model.embedding.weight, self.model.bias), raw, dropped

    def loss(self, scores: Tensor | Undecoded, targets: Tensor) -> Tensor:
        """Return the mean cross entropy of logits (N, V), or of what they are made of."""
        return self._decoded_loss(scores, targets)[0] if isinstance(scores, Undecoded) else super().loss(scores, targets)

    def graded(self, scores: Tensor | Undecoded, targets: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Return the loss, and what gives the accuracy."""
        if not isinstance(scores, Undecoded):
            return super().graded(scores, targets)
        loss, found_N = self._decoded_loss(scores, targets)
        return loss, lambda: 100.0 * found_N.double().mean()

    @staticmethod
    def _decoded_loss(scores: Undecoded, targets: Tensor) -> tuple[Tensor, Tensor]:
        both: tuple[Tensor, Tensor] = DecodedLoss.apply(*scores, targets, torch.is_grad_enabled())
        return both

    def count_macs(self, batch_shape: tuple[int, ...]) -> int:
        """Return the MACs of a forward pass over tokens of shape (B, T): state 0, a product an edge, and the decoder."""
        cell, edges = self.cell, len(self.shape.sources)
        return math.prod(batch_shape) * cell.width * ((4 + 2 * edges) * cell.width + self.model.num_tokens)

    def lr_scale(self, window: Window) -> float:
        """Return what the learning rate is multiplied by for a window of this length."""
        return window.share

    @property
    def cell(self) -> RecurrentSearchCell:
        """The relaxed cell."""
        assert isinstance(self.model.core, RecurrentSearchCell)
        return self.model.core

    def sample(
        self, batch: int, *, size: tuple[int, int], dtype: torch.dtype, device: torch.device, generator: torch.Generator
    ) -> tuple[Window, Tensor]:
        """Return random tokens, a few steps of them."""
        tokens = torch.randint(self.model.num_tokens, (_TRIAL_STEPS + 1, batch), generator=generator).to(device)
        return Window(tokens[:-1]), tokens[1:].flatten()

    def metrics(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return the perplexities."""
        return {f"{name}_ppl": math.exp(min(row[f"{name}_loss"], _LARGEST_LOSS)) for name in ("train", "valid")}

    @contextmanager
    def differentiable_twice(self) -> Iterator[None]:
        """Within, forward passes have gradients that can be differentiated again."""
        before, self.backend = self.backend, Reference()
        try:
            yield
        finally:
            self.backend = before

    def _pass(self, window: Window) -> tuple[Tensor, Tensor, Masks]:
        """Return the core's outputs, the state that they end in, and the masks."""
        model, batch = self.model, window.tokens_TB.shape[1]
        if self._drops and window.masks is None:
            window.masks = model.masks(batch)
        masks = Masks(*window.masks) if self._drops and window.masks is not None else Masks()
        state = model.first_state(batch) if window.state_SBD is None else window.state_SBD
        cell = self.cell
        ways: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"reference": cell, "eager": cell.fused}
        ways["native"] = partial(cell.fused, steps=NativeSteps)
        raw, state = ways[self.backend.name](model.embedded(window.tokens_TB, masks), state, masks, self._op_weights())
        window.next_state = state.detach()
        return raw, state, masks

    def _op_weights(self) -> Tensor:
        """Return what each operation of each edge weighs in this pass; what is not drawn weighs nothing and has no gradient."""
        weights: Weights = self._spent()[CELL]
        op_EO = weights.op_EO
        if weights.active is not None:
            drawn_EO = torch.zeros(op_EO.shape)
            for own_O, active in zip(drawn_EO, weights.active):
                own_O[list(active)] = 1.0
            op_EO = op_EO * drawn_EO.to(op_EO)
        edge_E = self._edges(CELL, weights.edge_E)
        return op_EO if edge_E is None else op_EO * edge_E.unsqueeze(1)
