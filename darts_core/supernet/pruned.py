"""Operations that have become too light to be computed any more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from darts_core.supernet.kept import Kept
from darts_core.supernet.sampled import Active


class Pruned(nn.Module):
    """What is left of each cell type; an operation that is gone does not come back. Its state is in the ``state_dict``.

    ``op_EO`` are the weights to begin with: where those of every edge sum to 1, what is left is scaled up to do so, too. ``offered`` says
    what each edge begins with.
    """

    def __init__(self, op_EO: Mapping[str, Tensor], offered: Mapping[str, Active]) -> None:
        super().__init__()
        self._rescales = all(bool((each.sum(-1) - 1.0).abs().max() < 1e-4) for each in op_EO.values())
        self.kept = {name: Kept(operations=each.shape[1], left=offered[name], rescales=self._rescales) for name, each in op_EO.items()}
        self._offered = self._count()

    def prune(self, op_EO: Mapping[str, Tensor], below: float) -> None:
        """Leave out what weighs less than ``below``, of each edge all but the heaviest at most."""
        for cell_type, weights in op_EO.items():
            kept = self.kept[cell_type]
            for edge, (row, left) in enumerate(zip(weights.tolist(), kept.left)):
                heaviest = max(left, key=row.__getitem__)
                for o in left:
                    if row[o] < below and o != heaviest:
                        kept = kept.without(edge, o)
            self.kept[cell_type] = kept

    def share(self) -> float:
        """Return the share of the operations that is gone."""
        return 1.0 - self._count() / self._offered

    def _count(self) -> int:
        return sum(len(row) for kept in self.kept.values() for row in kept.left)

    def get_extra_state(self) -> Tensor:
        """Return which operations are left, (cell types, E, O)."""
        return torch.stack([kept.mask() for kept in self.kept.values()])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore them."""
        for cell_type, mask_EO in zip(self.kept, state.tolist()):
            left = tuple(tuple(o for o, is_left in enumerate(row) if is_left) for row in mask_EO)
            self.kept[cell_type] = Kept(operations=self.kept[cell_type].operations, left=left, rescales=self._rescales)
