"""The cell of mixed operations (quark0/darts, cnn/model_search.py)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from darts_core.nets.skeleton import CellPlan
from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.supernet.backend import Backend
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.partial import PartialState, joined, sources_of
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
    """A cell whose every edge is a mixed operation: two states -> (B, nodes * C, H', W').

    Candidates see one of ``channel_proportion`` channels; the others go by.
    """

    def __init__(self, primitives: Sequence[str], nodes: int, plan: CellPlan, *, mixed: MixedOp, channel_proportion: int = 1) -> None:
        super().__init__()
        self.nodes = nodes
        self.mixed = mixed
        self.channel_proportion = channel_proportion
        self.is_reduction = plan.is_reduction
        width = plan.channels // channel_proportion
        fit = FactorizedReduce if plan.follows_reduction else ReluConvBn
        self.preprocess0 = fit(plan.channels_in[0], plan.channels, affine=False)
        self.preprocess1 = ReluConvBn(plan.channels_in[1], plan.channels, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: candidate(name, width, stride=self._stride(src)) for name in primitives}) for src, _ in sources(nodes)
        )

    def _stride(self, src: int) -> int:
        return 2 if self.is_reduction and src < 2 else 1

    def forward(
        self, s0: Tensor, s1: Tensor, weight_EO: Tensor, edge_E: Tensor | None = None, *, backend: Backend, is_last: bool
    ) -> Tensor:
        """Return the concatenation of the cell's nodes; ``weight_EO`` weighs the operations of each edge, ``edge_E`` the edges."""
        if edge_E is not None:
            weight_EO = weight_EO * edge_E.unsqueeze(1)
        inputs = [backend.preprocess(block, s) for block, s in ((self.preprocess0, s0), (self.preprocess1, s1))]
        if self.channel_proportion > 1:
            return self._partial(inputs, weight_EO, edge_E, backend=backend, is_last=is_last)
        states = [backend.source(x) for x in inputs]
        edges = iter(zip(self.edges, weight_EO.unbind()))
        for node in range(self.nodes):
            terms: list[Term] = []
            for src in range(node + 2):
                edge, weight_O = next(edges)
                terms.extend(self.mixed(edge, states[src], weight_O))  # type: ignore[arg-type]
            states.append(backend.source(backend.total(terms)))
        return backend.leave(states[2:], is_last=is_last)

    def _partial(self, inputs: list[Tensor], weight_EO: Tensor, edge_E: Tensor | None, *, backend: Backend, is_last: bool) -> Tensor:
        states = [PartialState(x, backend, self.channel_proportion) for x in inputs]
        passing_E = weight_EO.new_ones(len(self.edges)) if edge_E is None else edge_E
        edges = iter(zip(self.edges, weight_EO.unbind(), passing_E.unbind()))
        for node in range(self.nodes):
            terms: list[Term] = []
            passing: list[Term] = []
            for src in range(node + 2):
                edge, weight_O, weight = next(edges)
                terms.extend(self.mixed(edge, states[src].active, weight_O))  # type: ignore[arg-type]
                passing.append((weight, states[src].rest(stride=self._stride(src))))
            active = backend.source(backend.total(terms)).x
            states.append(PartialState(joined(active, backend.total(passing), self.channel_proportion), backend, self.channel_proportion))
        return backend.leave(sources_of(states[2:], backend), is_last=is_last)
