"""The network for images in which every edge is a mixture of candidate operations (Liu et al., ICLR 2019, arXiv:1806.09055)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from darts_core.genotype import CELL_TYPES
from darts_core.metrics import count_macs
from darts_core.nets.skeleton import CellPlan, DartsFrame, Frame, Stem, pooled
from darts_core.runtime.allocator import return_freed_memory
from darts_core.supernet.cell import SearchCell
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.offer import EdgePrimitives
from darts_core.supernet.recompute import recomputed
from darts_core.supernet.shape import CellShape
from darts_core.supernet.skip_dropout import SkipDropout
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation, Supernet


class ImageSupernet(Supernet):
    """Stem, cells of mixed operations, classifier. BatchNorm is affine outside the cells only.

    ``cell_types`` are those of the cells that ``frame`` sets, all of one ``shape``. ``relax`` turns ``alpha_EO`` into weights, ``mixed``
    says how an edge spends them; with ``relax_edges`` there is a ``beta_E`` for each cell type, too. Candidates see one of
    ``channel_proportion`` channels. Images from 8 to 224 pixels, odd sizes too. With ``auxiliary_skips`` every edge has a skip connection
    more, outside alpha, weighed by the scalar ``auxiliary_weight`` (DARTS-, arXiv:2009.01027), which the search lets decay. Where not all
    ``primitives`` stand on every edge, ``edge_primitives`` names those of each. ``use`` chooses how it is computed; until then it is the
    published forward.
    """

    _paths: Tensor | None = None

    def __init__(
        self,
        primitives: Sequence[str],
        *,
        shape: CellShape,
        init_channels: int,
        layers: int,
        stem: Stem,
        in_channels: int,
        num_classes: int,
        relax: Relaxation,
        mixed: MixedOp,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
        channel_proportion: int = 1,
        auxiliary_skips: bool = False,
        cell_types: Sequence[str] = CELL_TYPES,
        frame: Frame | None = None,
        edge_primitives: EdgePrimitives | None = None,
    ) -> None:
        super().__init__(
            primitives,
            shape=shape,
            cell_types=cell_types,
            relax=relax,
            generator=generator,
            relax_edges=relax_edges,
            edge_primitives=edge_primitives,
        )
        self.in_channels = in_channels
        frame = DartsFrame() if frame is None else frame
        width = dict.fromkeys(self.cell_types, len(shape.concat))
        skeleton = frame.build(in_channels=in_channels, init_channels=init_channels, layers=layers, stem=stem, width=width)
        self.stem = skeleton.stem
        cell = partial(SearchCell, self.primitives, shape, mixed=mixed, channel_proportion=channel_proportion)
        self.cells = nn.ModuleList(
            cell(plan, edges=self.offers[plan.cell_type].names) if isinstance(plan, CellPlan) else plan.build() for plan in skeleton.plans
        )
        self.type_of_cell = [plan.cell_type if isinstance(plan, CellPlan) else None for plan in skeleton.plans]
        self.fits_inputs = all(plan.fits_inputs for plan in skeleton.plans if isinstance(plan, CellPlan))
        self.head = skeleton.head
        self.classifier = nn.Linear(skeleton.channels, num_classes)
        self._add_auxiliary_skips(auxiliary_skips)  # last, so that all other weights are drawn alike without them
        self.backend.prepare(self, torch.device("cpu"))

    def _add_auxiliary_skips(self, wanted: bool) -> None:
        self.auxiliary_weight: Tensor | None
        self.register_buffer("auxiliary_weight", torch.ones(()) if wanted else None)
        for cell in self.cells if wanted else ():
            if isinstance(cell, SearchCell):
                cell.add_auxiliary_skips()

    def add_skip_dropout(self, generator: torch.Generator) -> None:
        """Let the skip connections of all cells leave values out at the rate ``skip_dropout.rate``; masks are seeded from ``generator``."""
        self.skip_dropout = SkipDropout().fresh(generator)
        for cell in self.cells:
            if isinstance(cell, SearchCell):
                cell.add_skip_dropout()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C_in, H, W) to logits (B, K)."""
        weights = self._spent()
        given = {cell_type: (each.spent(), self._edges(cell_type, each.edge_E)) for cell_type, each in weights.items()}
        states = self._enter(self.stem(x))
        is_lean = self.is_lean and torch.is_grad_enabled()
        rate, seed = (0.0, 0) if self.skip_dropout is None else self.skip_dropout.draw()
        forgetful = self.backend.forgetting_edges() if is_lean else None
        is_forgotten = is_lean and forgetful is None  # cells as wholes
        backend = forgetful or (self.backend.forgotten_cells() if self.is_lean else self.backend)
        for number, (cell_type, cell) in enumerate(zip(self.type_of_cell, self.cells), start=1):
            before = states[-1]
            if cell_type is None:
                states = [recomputed([cell], cell, before) if is_lean else cell(before)]
                _tidy_ahead_of_larger_maps(before, states[-1], forgets=forgetful is not None)
                continue
            compute = partial(
                cell,
                backend=backend,
                is_last=number == len(self.cells),
                active=weights[cell_type].active,
                auxiliary=None if self._is_path else self.auxiliary_weight,  # no operation of an architecture
                dropout=(rate, seed + number * len(self.shape.sources)),
                paths=None if self._paths is None else self._paths[number - 1],
            )
            inputs = (states, *given[cell_type])
            states = [*states[1:], recomputed([cell], compute, *inputs) if is_forgotten else compute(*inputs)]
            _tidy_ahead_of_larger_maps(before, states[-1], forgets=forgetful is not None)
        return self.classifier(pooled(self.head(states[-1])))

    @contextmanager
    def dropping(self, scale_CEB: Tensor) -> Iterator[None]:
        """Within, whatever each edge of each cell adds but the state as it is, is multiplied by a number for each image of the batch."""
        before, self._paths = self._paths, scale_CEB
        try:
            yield
        finally:
            self._paths = before

    def sample(
        self, batch: int, *, size: tuple[int, int], dtype: torch.dtype, device: torch.device, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return random images and labels."""
        images = torch.randn(batch, self.in_channels, *size, dtype=torch.float64, generator=generator).to(dtype)
        labels = torch.randint(self.classifier.out_features, (batch,), generator=generator)
        return images.to(device, memory_format=self.backend.memory_format(device)), labels.to(device)

    def count_macs(self, batch_shape: tuple[int, ...]) -> int:
        """Return the MACs of a forward pass over images of shape (B, C, H, W)."""
        batch, channels, height, width = batch_shape
        return batch * count_macs(self, input_shape=(channels, height, width))

    def _enter(self, states: Sequence[Tensor]) -> list[Tensor]:
        if not self.fits_inputs:
            return list(states)
        entered = {id(s): self.backend.enter(s) for s in states}
        return [entered[id(s)] for s in states]


def _tidy_ahead_of_larger_maps(before: Tensor, after: Tensor, *, forgets: bool) -> None:
    """Where edges are computed again, let the backward pass give freed memory back as it comes from ``after`` to a larger ``before``.

    On the CPU. What smaller maps have left is of no use to larger ones: the resident set would grow to the end of the pass.
    """
    if forgets and after.requires_grad and after.device.type == "cpu" and after.shape[-1] < before.shape[-1]:
        after.register_hook(lambda _: return_freed_memory())
