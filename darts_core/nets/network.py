"""The discrete network: a genotype's cells on the common skeleton (quark0/darts, cnn/model.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.nets.halvings import Halvings
from darts_core.nets.skeleton import AuxiliaryHead, CellPlan, DartsFrame, Frame, Stem, pooled
from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.ops.drop_path import DropPath
from darts_core.ops.layout import concatenate


class DiscreteCell(nn.Module):
    """One cell: two states (B, C0, H, W) and (B, C1, H, W), or one, -> (B, states * C, H', W'). BatchNorms are affine, pools are bare."""

    def __init__(self, cell: Cell, plan: CellPlan) -> None:
        super().__init__()
        if plan.row is not None:
            cell = cell.layer(plan.row)
        self.cell = cell
        self.fits_inputs = plan.fits_inputs
        if plan.fits_inputs:
            fit = FactorizedReduce if plan.follows_reduction else ReluConvBn
            self.preprocess0 = fit(plan.channels_in[0], plan.channels, affine=True)
            self.preprocess1 = ReluConvBn(plan.channels_in[1], plan.channels, affine=True)
        self.ops = nn.ModuleList(
            nn.ModuleDict(
                {
                    edge.op: OPS.get(edge.op)(
                        plan.channels_at(dst - cell.inputs), stride=2 if plan.is_reduction and edge.src < cell.inputs else 1, affine=True
                    )
                }
            )
            for dst, edge in cell.edges
        )
        read = [(dst, edges[k].src) for dst, edges in enumerate(cell.nodes, start=cell.inputs) for k in _read(edges)]
        later = {node: {src for dst, src in read if src < node + cell.inputs <= dst} for node in plan.halvings}
        self.halvings = Halvings(plan, later, affine=True)

    def forward(self, *inputs: Tensor, drop_path: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the concatenated states; ``drop_path`` acts on every edge but identities.

        Where the cell fits its inputs, they are rectified already.
        """
        states = list(inputs)
        if self.fits_inputs:
            states = [block.last_bn(block.convolve(s)) for block, s in zip((self.preprocess0, self.preprocess1), inputs)]
        modules = iter(self.ops)
        for node, edges in enumerate(self.cell.nodes):
            states = self.halvings.of(node, states, lambda halve, state: halve(state))
            given = [next(modules) for _ in edges]
            summands = [self._edge(given[k].get_submodule(edges[k].op), states[edges[k].src], drop_path) for k in _read(edges)]
            states.append(reduce(torch.add, summands))
        return concatenate([states[i] for i in self.cell.concat])

    @staticmethod
    def _edge(op: nn.Module, x: Tensor, drop_path: Callable[[Tensor], Tensor] | None) -> Tensor:
        h = op(x)
        return h if drop_path is None or isinstance(op, nn.Identity) else drop_path(h)


def _read(edges: Sequence[Edge]) -> list[int]:
    """Return the numbers of a node's edges that add something, or of one that adds zeros."""
    return [k for k, edge in enumerate(edges) if edge.op != "none"] or [len(edges) - 1]


class Network(nn.Module):
    """Stem, cells, classifier; in training mode an auxiliary classifier beside it.

    Works for images from 8 to 224 pixels, odd sizes too. ``drop_path`` is shared with the training loop, which sets its probability.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        in_channels: int,
        num_classes: int,
        init_channels: int,
        layers: int,
        stem: Stem = "cifar",
        auxiliary: bool = False,
        drop_path: DropPath | None = None,
        frame: Frame | None = None,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.drop_path = drop_path
        frame = DartsFrame() if frame is None else frame
        frame.check(layers=layers, stem=stem, auxiliary=auxiliary, section="retrain")
        width = {cell_type: len(cell.concat) for cell_type, cell in genotype.cells.items()}
        skeleton = frame.build(in_channels=in_channels, init_channels=init_channels, layers=layers, stem=stem, width=width)
        self.stem = skeleton.stem
        self.cells = nn.ModuleList(
            DiscreteCell(genotype.cell(plan.cell_type), plan) if isinstance(plan, CellPlan) else plan.build() for plan in skeleton.plans
        )
        self.auxiliary_layer = 2 * layers // 3
        self.auxiliary_head = None
        if auxiliary:
            plan = skeleton.plans[self.auxiliary_layer]
            assert isinstance(plan, CellPlan)
            self.auxiliary_head = AuxiliaryHead(plan.channels * width[plan.cell_type], num_classes, stem=stem)
        self.head = skeleton.head
        self.classifier = nn.Linear(skeleton.channels, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map images (B, C_in, H, W) to logits (B, K); with an auxiliary head in training mode to both classifiers' logits."""
        *older, out = self.stem(x)
        auxiliary = None
        before = [None if s is out else F.relu(s) for s in older]  # rectified once, for the two cells that read it
        for layer, cell in enumerate(self.cells):
            if not isinstance(cell, DiscreteCell):
                out = cell(out)
                continue
            last = F.relu(out) if cell.fits_inputs else out
            out = cell(*(last if s is None else s for s in before), last, drop_path=self.drop_path if self.training else None)
            before = [*before, last][1:]
            if layer == self.auxiliary_layer and self.auxiliary_head is not None and self.training:
                auxiliary = self.auxiliary_head(out)
        logits = self.classifier(pooled(self.head(out)))
        return logits if auxiliary is None else (logits, auxiliary)
