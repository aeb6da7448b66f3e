"""The discrete network: a genotype's cells on the common skeleton (quark0/darts, cnn/model.py)."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.genotype import Cell, Genotype
from darts_core.nets.skeleton import AuxiliaryHead, CellPlan, Stem, build_stem, plan_cells, pooled
from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.ops.drop_path import DropPath
from darts_core.ops.layout import concatenate


class DiscreteCell(nn.Module):
    """One cell: two states (B, C0, H, W) and (B, C1, H, W) -> (B, states * C, H', W'). BatchNorms are affine, pools are bare."""

    def __init__(self, cell: Cell, plan: CellPlan) -> None:
        super().__init__()
        self.cell = cell
        fit = FactorizedReduce if plan.follows_reduction else ReluConvBn
        self.preprocess0 = fit(plan.channels_in[0], plan.channels, affine=True)
        self.preprocess1 = ReluConvBn(plan.channels_in[1], plan.channels, affine=True)
        self.ops = nn.ModuleList(
            nn.ModuleDict({edge.op: OPS.get(edge.op)(plan.channels, stride=2 if plan.is_reduction and edge.src < 2 else 1, affine=True)})
            for _, edge in cell.edges
        )

    def forward(self, s0: Tensor, s1: Tensor, drop_path: DropPath | None = None) -> Tensor:
        """Return the concatenated states of two inputs that are rectified already; ``drop_path`` acts on every edge but identities."""
        states = [block.last_bn(block.convolve(s)) for block, s in ((self.preprocess0, s0), (self.preprocess1, s1))]
        modules = iter(self.ops)
        for edges in self.cell.nodes:
            summands = [self._edge(next(modules).get_submodule(edge.op), states[edge.src], drop_path) for edge in edges]
            states.append(reduce(torch.add, summands))
        return concatenate([states[i] for i in self.cell.concat])

    @staticmethod
    def _edge(op: nn.Module, x: Tensor, drop_path: DropPath | None) -> Tensor:
        h = op(x)
        return h if drop_path is None or isinstance(op, nn.Identity) else drop_path(h)


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
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.drop_path = drop_path
        width = {"normal": len(genotype.normal.concat), "reduce": len(genotype.reduce.concat)}
        plans = list(plan_cells(init_channels, layers, stem=stem, width=width))
        self.stem = build_stem(stem, in_channels, init_channels)
        self.cells = nn.ModuleList(DiscreteCell(genotype.cell(plan.cell_type), plan) for plan in plans)
        outputs = [plan.channels * width[plan.cell_type] for plan in plans]
        self.auxiliary_layer = 2 * layers // 3
        self.auxiliary_head = AuxiliaryHead(outputs[self.auxiliary_layer], num_classes, stem=stem) if auxiliary else None
        self.classifier = nn.Linear(outputs[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map images (B, C_in, H, W) to logits (B, K); with an auxiliary head in training mode to both classifiers' logits."""
        s0, s1 = self.stem(x)
        auxiliary = None
        before = None if s0 is s1 else F.relu(s0)
        for layer, cell in enumerate(self.cells):
            rectified = F.relu(s1)  # once, for the two cells that read it
            s1 = cell(rectified if before is None else before, rectified, self.drop_path if self.training else None)
            before = rectified
            if layer == self.auxiliary_layer and self.auxiliary_head is not None and self.training:
                auxiliary = self.auxiliary_head(s1)
        logits = self.classifier(pooled(s1))
        return logits if auxiliary is None else (logits, auxiliary)
