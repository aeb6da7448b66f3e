"""Relaxations that draw: each forward pass gets one sample of the operations' weights for all cells of a type."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

Active = tuple[tuple[int, ...], ...]
"""For each edge the numbers of the operations that are computed."""


@dataclass(frozen=True)
class Weights:
    """What a relaxation makes of the operations' alpha: ``op_EO`` weighs the operations of each edge.

    Where not all operations are computed, ``active`` says for each edge which ones, at least one; the others add nothing. ``edge_E``, where
    given, multiplies what goes along each edge, past the candidates, too.
    """

    op_EO: Tensor  # noqa: N815
    active: Active | None = None
    edge_E: Tensor | None = None  # noqa: N815

    def spent(self) -> Tensor:
        """Return the weights of the operations that are computed, (E, K): K is that of the edge with most, and shorter rows are padded."""
        if self.active is None:
            return self.op_EO
        most = max(map(len, self.active))
        padded = [(*own, *own[:1] * (most - len(own))) for own in self.active]
        return self.op_EO.gather(1, torch.tensor(padded, device=self.op_EO.device))


class Drawing(nn.Module):
    """Something with random numbers of its own, drawn on the CPU; their state is in the ``state_dict``."""

    def __init__(self) -> None:
        super().__init__()
        self._random = torch.Generator().get_state()

    def fresh(self, generator: torch.Generator) -> Self:
        """Return a copy with a random stream of its own, seeded from ``generator``."""
        own = copy.deepcopy(self)
        seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        own._random = torch.Generator().manual_seed(seed).get_state()
        return own

    def seed(self) -> int:
        """Return a random number that something else may be drawn from."""
        generator = torch.Generator()
        generator.set_state(self._random)
        drawn = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        self._random = generator.get_state()
        return drawn

    def get_extra_state(self) -> Tensor:
        """Return the state of the random numbers, for the ``state_dict``."""
        return self._random.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self._random = state.cpu().clone()


class Sampled(Drawing):
    """A relaxation that draws, in training mode alone. ``temperature`` is set by the search, epoch by epoch; it is 1 until then."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = 1.0

    def forward(self, alpha_EO: Tensor) -> Weights:
        """Return a sample, or in evaluation mode what stands for all of them."""
        return self.sample(alpha_EO) if self.training else self.settled(alpha_EO)

    def sample(self, alpha_EO: Tensor) -> Weights:
        """Return the weights of this forward pass."""
        raise NotImplementedError

    def settled(self, alpha_EO: Tensor) -> Weights:
        """Return the weights that the supernet is evaluated with: the expected ones, unless a subclass says otherwise."""
        return Weights(self.expected(alpha_EO))

    def expected(self, alpha_EO: Tensor) -> Tensor:
        """Return op_EO as it is logged and derived from: the probabilities of the operations."""
        return alpha_EO.softmax(dim=-1)

    def exponential(self, like: Tensor) -> Tensor:
        """Return numbers of the standard exponential distribution, as many as ``like`` and of its kind."""
        generator = torch.Generator()
        generator.set_state(self._random)
        drawn = torch.empty(like.shape, dtype=torch.float64, device="cpu").exponential_(generator=generator)
        self._random = generator.get_state()
        return drawn.clamp_min(1e-30).to(like)

    def gamma(self, shape_EO: Tensor) -> Tensor:
        """Return gamma variables of the given shape parameters, which they can be differentiated by, and of their kind.

        On the meta device, where there are no numbers, the parameters stand for them.
        """
        if shape_EO.is_meta:
            return shape_EO
        generator = torch.Generator()
        generator.set_state(self._random)
        drawn: Tensor = torch._standard_gamma(shape_EO.double().cpu(), generator=generator)
        self._random = generator.get_state()
        return drawn.to(shape_EO)


def strongest(weight_EO: Tensor) -> Active:
    """Return the strongest operation of each edge; on the meta device, where nothing is known, each in turn."""
    edges, operations = weight_EO.shape
    if weight_EO.is_meta:
        return tuple((edge % operations,) for edge in range(edges))
    return tuple((number,) for number in weight_EO.argmax(dim=-1).tolist())


def one_hot(active: Active, like: Tensor) -> Tensor:
    """Return 1 for the one active operation of each edge and 0 for the others, (E, O)."""
    return torch.zeros_like(like).scatter(1, torch.tensor(active, device=like.device), 1.0)
