"""Architecture parameters: one alpha an edge and operation, kept in the ``state_dict`` and apart from the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

INIT_SCALE = 1e-3  # quark0/darts, cnn/model_search.py; the paper says zeros


class ArchParameters(nn.Module):
    """``alpha_EO`` for each cell type, and ``beta_E`` where edges have weights, as ``nn.Parameter``: saved with the model, moved by the
    arch step alone.

    ``shapes`` maps a name to (edges, operations) or (edges,). Values start as ``1e-3 * N(0, 1)``, drawn on the CPU from ``generator``.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, generator: torch.Generator) -> None:
        super().__init__()
        self.names = tuple(shapes)
        for cell_type, shape in shapes.items():
            self.register_parameter(cell_type, nn.Parameter(INIT_SCALE * torch.randn(shape, generator=generator)))

    def get(self, name: str) -> Tensor:
        """Return a parameter by its name."""
        found: Tensor = getattr(self, name)
        return found

    def items(self) -> list[tuple[str, Tensor]]:
        """Return (name, parameter) pairs."""
        return [(name, self.get(name)) for name in self.names]
