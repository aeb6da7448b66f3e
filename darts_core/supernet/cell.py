"""The cell of mixed operations (quark0/darts, cnn/model_search.py)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from darts_core.nets.skeleton import CellPlan
from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.supernet.backend import Backend
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.shared import POOLS
from darts_core.supernet.source import Term


def candidate(name: str, channels: int, *, stride: int) -> nn.Module:
    """Return a candidate operation as the supernet holds it: BatchNorm without affine parameters, one after each pool, too."""
    op = OPS.get(name)(channels, stride=stride, affine=False)
    return nn.Sequential(op, nn.BatchNorm2d(channels, affine=False)) if isinstance(op, POOLS) else op


def sources(nodes: int) -> list[tuple[int, int]]:
    """Return (source state, destination state) of each edge, node by node: 2 + 3 + ... of them."""
    return [(src, node + 2) for node in range(nodes) for src in range(node + 2)]


class SearchCell(nn.Module):
    """A cell whose every edge is a mixed operation: two states -> (B, nodes * C, H', W')."""

    def __init__(self, primitives: Sequence[str], nodes: int, plan: CellPlan, *, mixed: MixedOp) -> None:
        super().__init__()
        self.nodes = nodes
        self.mixed = mixed
        fit = FactorizedReduce if plan.follows_reduction else ReluConvBn
        self.preprocess0 = fit(plan.channels_in[0], plan.channels, affine=False)
        self.preprocess1 = ReluConvBn(plan.channels_in[1], plan.channels, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: candidate(name, plan.channels, stride=2 if plan.is_reduction and src < 2 else 1) for name in primitives})
            for src, _ in sources(nodes)
        )

    def forward(self, s0: Tensor, s1: Tensor, weight_EO: Tensor, *, backend: Backend, is_last: bool) -> Tensor:
        """Return the concatenation of the cell's nodes; ``weight_EO`` weighs the operations of each edge."""
        states = [backend.source(backend.preprocess(block, s)) for block, s in ((self.preprocess0, s0), (self.preprocess1, s1))]
        edges = iter(zip(self.edges, weight_EO.unbind()))
        for node in range(self.nodes):
            terms: list[Term] = []
            for src in range(node + 2):
                edge, weight_O = next(edges)
                terms.extend(self.mixed(edge, states[src], weight_O))  # type: ignore[arg-type]
            states.append(backend.source(backend.total(terms)))
        return backend.leave(states[2:], is_last=is_last)
