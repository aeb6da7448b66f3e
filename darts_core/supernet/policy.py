"""Policies: relaxations that draw whole architectures and know how probable each of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from darts_core.genotype import Cell, Edge
from darts_core.supernet.offer import Offer
from darts_core.supernet.sampled import Active, Sampled, Weights, one_hot, strongest
from darts_core.supernet.shape import CellShape


def cheapest(primitives: Sequence[str], offered: Sequence[int]) -> int:
    """Return the number of the operation that is computed where none is wanted: of those ``offered`` the one that costs least."""
    return next((o for name in ("none", "skip_connect") for o in offered if primitives[o] == name), offered[0])


def one_path(chosen: Mapping[tuple[int, int], int], *, offer: Offer, shape: CellShape, like: Tensor) -> Weights:
    """Return 1 for the operation that is ``chosen`` for an edge, by (source, destination); edges without one weigh nothing.

    The tensors are of the kind of ``like``. Raise ``ValueError`` where an edge does not offer its operation.
    """
    active = tuple((chosen.get(ends, cheapest(offer.primitives, own)),) for ends, own in zip(shape.sources, offer.ops))
    if foreign := [offer.primitives[o] for (o,), own in zip(active, offer.ops) if o not in own]:
        raise ValueError(f"The {offer.cell_type} cell has {', '.join(foreign)} on an edge that does not offer it in this supernet.")
    kept_E = like.new_tensor([float(ends in chosen) for ends in shape.sources])
    return Weights(one_hot(active, like.new_empty(len(active), len(offer.primitives))) * kept_E.unsqueeze(1), active, kept_E)


def path_of(cell: Cell, *, offer: Offer, shape: CellShape, like: Tensor) -> Weights:
    """Return :func:`one_path` of what a genotype's cell has on its edges."""
    chosen = {(edge.src, dst): offer.primitives.index(edge.op) for dst, edge in cell.edges}
    return one_path(chosen, offer=offer, shape=shape, like=like)


def derivable(offer: Offer, shape: CellShape) -> Active:
    """Return for each edge the numbers of the operations that may be derived."""
    usable = set(shape.choosable(offer.primitives))
    return tuple(tuple(o for o in own if o in usable) for own in offer.ops)


def random_cell(offer: Offer, shape: CellShape, generator: torch.Generator) -> Cell:
    """Draw a cell: for each node uniform distinct earlier states, as many as are derived, on each a uniform derivable operation."""
    nodes, rows = [], iter(derivable(offer, shape))
    for read in shape.incoming:
        ops = list(islice(rows, len(read)))
        srcs = torch.randperm(len(read), generator=generator)[: shape.kept_edges].sort().values.tolist()
        drawn = [(ops[k][int(torch.randint(len(ops[k]), (), generator=generator))], read[k]) for k in srcs]
        nodes.append(tuple(Edge(offer.primitives[o], src) for o, src in drawn))
    return Cell(tuple(nodes), shape.concat, shape.inputs)


def first_path(offer: Offer, shape: CellShape) -> dict[tuple[int, int], int]:
    """Return what stands for a drawn cell on the meta device, for :func:`one_path`: first states, read by last operations."""
    most = shape.kept_edges
    first = [most is None or k < most for read in shape.incoming for k in range(len(read))]
    return {ends: own[-1] for ends, own, is_read in zip(shape.sources, offer.ops, first) if is_read}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An architecture, as the weights 0 and 1 of each cell type.

    ``log_prob`` is the logarithm of its probability in nats, ``entropy`` that of the decisions that led to it; scalars with a gradient.
    ``skips`` are the probabilities that the skip connections of each layer had, one after the other, where layers choose among these.
    """

    weights: Mapping[str, Weights]
    log_prob: Tensor
    entropy: Tensor
    skips: tuple[Tensor, ...] = ()


class Policy(Sampled):
    """A relaxation that draws one architecture of all cell types at a time."""

    def draw(self, alphas: Mapping[str, Tensor], offers: Mapping[str, Offer]) -> Drawn:
        """Return an architecture of what the edges of each cell type offer; ``alphas`` are the matrices that they name.

        There are none where the policy has parameters of its own.
        """
        raise NotImplementedError


class Categorical(Policy):
    """One operation an edge, drawn by the softmax of alpha, each edge by itself."""

    def draw(self, alphas: Mapping[str, Tensor], offers: Mapping[str, Offer]) -> Drawn:
        """Return an operation for each edge."""
        log_probs, entropies = [], []

        def one(alpha_EO: Tensor) -> Weights:
            log_EO = alpha_EO.log_softmax(dim=-1)
            active = self.pick(log_EO)
            log_probs.append(log_EO.gather(1, torch.tensor(active, device=log_EO.device)).sum())
            entropies.append(-(log_EO.exp() * log_EO).sum())
            return Weights(one_hot(active, alpha_EO.detach()), active)

        weights = {cell_type: offer.relaxed(alphas.__getitem__, one) for cell_type, offer in offers.items()}
        return Drawn(weights=weights, log_prob=torch.stack(log_probs).sum(), entropy=torch.stack(entropies).sum())

    def pick(self, log_EO: Tensor) -> Active:
        """Return an operation of each edge, drawn by the logarithms of their probabilities (Gumbel's trick)."""
        return strongest(log_EO.detach() - self.exponential(log_EO).log())


class Joint(Policy):
    """A policy with parameters of its own, or none, in the place of alphas, which draws the cell types one after the other."""

    def fitted(self, offers: Mapping[str, Offer], shape: CellShape, *, generator: torch.Generator) -> Joint:
        """Return a policy for cells of one ``shape``, whose edges have these ``offers``.

        Its parameters and its random stream come from ``generator``.
        """
        raise NotImplementedError

    def together(self) -> Mapping[str, Weights]:
        """Return the weights of a forward pass: an architecture that is drawn, or in evaluation mode the one that stands for all."""
        raise NotImplementedError

    def marginals(self) -> dict[str, Tensor]:
        """Return op_EO of each cell type as it is logged: how probable each operation is on each edge."""
        raise NotImplementedError
