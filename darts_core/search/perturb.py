"""Perturbations: the weights of the operations that a weight step sees in place of its own, so that alpha learns to stand on flat ground.

Alpha itself is never written to: a forward pass is given other weights (SmoothDARTS, Chen and Hsieh, ICML 2020, arXiv:2002.05283).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from darts_core.search.bilevel import Batch, Loss, frozen
from darts_core.supernet.supernet import Supernet

Point = Mapping[str, Tensor]
"""The weights ``op_EO`` of each cell type."""


class Perturbation(Protocol):
    """(supernet, loss, training batch) -> the weights that the step on this batch is taken with.

    ``progress`` is the share of the epochs that are over, ``generator`` a CPU generator that everything random is drawn from.
    """

    def __call__(  # noqa: D102
        self, supernet: Supernet, loss: Loss, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> Point: ...


@dataclass(frozen=True)
class Radius:
    """How far each weight may move: from ``start`` to ``end`` along the search."""

    start: float
    end: float

    def at(self, progress: float) -> float:
        """Return the radius."""
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class RandomPerturbation:
    """Uniform noise in ``[-radius, radius]`` on every weight (SDARTS-RS)."""

    radius: Radius

    def __call__(self, supernet: Supernet, loss: Loss, batch: Batch, *, progress: float, generator: torch.Generator) -> Point:
        """Return a random point near the present weights."""
        return random_point(_clean(supernet), self.radius.at(progress), generator)


@dataclass(frozen=True)
class AdversarialPerturbation:
    """The weights within the radius at which the loss of this very batch is highest, by projected gradient ascent (SDARTS-ADV).

    Starts at a random point and takes ``steps`` signed steps of ``2 * radius / steps``, in evaluation mode as the published code does. Of
    all points on the way, the clean weights and the random ones included, that of the highest loss is taken; the published code chooses
    between the clean and the last one.
    """

    radius: Radius
    steps: int

    def __call__(self, supernet: Supernet, loss: Loss, batch: Batch, *, progress: float, generator: torch.Generator) -> Point:
        """Return the worst point found."""
        was_training = supernet.training
        supernet.eval()
        try:
            with frozen(supernet.parameters()):
                return self._worst(supernet, loss, batch, self.radius.at(progress), generator)
        finally:
            supernet.train(was_training)

    def _worst(self, supernet: Supernet, loss: Loss, batch: Batch, radius: float, generator: torch.Generator) -> Point:
        clean = _clean(supernet)
        worst, point = clean, random_point(clean, radius, generator)
        highest = self._loss(supernet, loss, batch, clean)
        for step in range(self.steps + 1):
            leaves = {cell_type: op_EO.requires_grad_(step < self.steps) for cell_type, op_EO in point.items()}
            value = self._loss(supernet, loss, batch, leaves)
            if value > highest:
                worst, highest = {cell_type: op_EO.detach() for cell_type, op_EO in leaves.items()}, value.detach()
            if step < self.steps:
                grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
                point = {
                    cell_type: _within(op_EO.detach() + 2.0 * radius / self.steps * grad.sign(), clean[cell_type], radius)
                    for (cell_type, op_EO), grad in zip(leaves.items(), grads)
                }
        return worst

    @staticmethod
    def _loss(supernet: Supernet, loss: Loss, batch: Batch, point: Point) -> Tensor:
        with supernet.weighing(point):
            return loss(supernet.scores(batch[0]), batch[1])


def random_point(clean: Point, radius: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Return ``clean`` with uniform noise of at most ``radius``."""

    def moved(op_EO: Tensor) -> Tensor:
        noise = 2.0 * torch.rand(op_EO.shape, dtype=op_EO.dtype, generator=generator) - 1.0
        return _within(op_EO + radius * noise.to(op_EO.device), op_EO, radius)

    return {cell_type: moved(op_EO) for cell_type, op_EO in clean.items()}


def _within(op_EO: Tensor, clean_EO: Tensor, radius: float) -> Tensor:
    """Return weights at most ``radius`` from the clean ones and in [0, 1], then scaled to the clean sum of their edge (1 for a softmax).

    A clean weight of 0 stays: its edge does not offer the operation.
    """
    moved = (clean_EO + (op_EO - clean_EO).clamp(-radius, radius)).clamp(0.0, 1.0) * (clean_EO > 0.0)
    return moved * (clean_EO.sum(-1, keepdim=True) / moved.sum(-1, keepdim=True).clamp_min(1e-12))


def _clean(supernet: Supernet) -> dict[str, Tensor]:
    with torch.no_grad():
        return {cell_type: op_EO.detach() for cell_type, op_EO in supernet.op_weights().items()}
