"""The cell of mixed operations (quark0/darts, cnn/model_search.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from darts_core.nets.halvings import Halvings
from darts_core.nets.skeleton import CellPlan
from darts_core.ops import OPS
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.supernet.backend import Backend
from darts_core.supernet.mixed import Edge, MixedOp
from darts_core.supernet.partial import PartialState, check_width, joined, sources_of
from darts_core.supernet.sampled import Active
from darts_core.supernet.shape import CellShape
from darts_core.supernet.shared import POOLS
from darts_core.supernet.skip_dropout import Dropout, DroppedSkip
from darts_core.supernet.source import Term, dropped


def candidate(name: str, channels: int, *, stride: int, normalises_pools: bool = True) -> nn.Module:
    """Return a candidate operation as the supernet holds it: BatchNorm without affine parameters, one after each pool, too, unless told."""
    op = OPS.get(name)(channels, stride=stride, affine=False)
    return nn.Sequential(op, nn.BatchNorm2d(channels, affine=False)) if normalises_pools and isinstance(op, POOLS) else op


class SearchCell(nn.Module):
    """A cell whose every edge is a mixed operation: its inputs -> (B, joined nodes * C, H', W').

    Candidates see one of ``channel_proportion`` channels; the others go by. ``edges`` names those of each edge, where not all
    ``primitives`` stand on every one.
    """

    def __init__(
        self,
        primitives: Sequence[str],
        shape: CellShape,
        plan: CellPlan,
        *,
        mixed: MixedOp,
        channel_proportion: int = 1,
        edges: Sequence[Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.primitives = tuple(primitives)
        self.shape = shape = shape if plan.row is None else shape.layer
        self.row = plan.row
        if edges is not None and plan.row is not None:
            edges = edges[plan.row : plan.row + 1]
        self.mixed = mixed
        self.channel_proportion = channel_proportion
        self.is_reduction = plan.is_reduction
        self.fits_inputs = plan.fits_inputs
        check_width(plan.channels, channel_proportion)
        self.plan = plan
        if plan.fits_inputs:
            fit = FactorizedReduce if plan.follows_reduction else ReluConvBn
            self.preprocess0 = fit(plan.channels_in[0], plan.channels, affine=False)
            self.preprocess1 = ReluConvBn(plan.channels_in[1], plan.channels, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: candidate(name, self._width(dst), stride=self._stride(src), normalises_pools=shape.normalises_pools)
                    for name in names
                }
            )
            for (src, dst), names in zip(shape.sources, [primitives] * len(shape.sources) if edges is None else edges)
        )
        every = {node: range(shape.inputs + node) for node in plan.halvings}
        self.halvings = Halvings(plan, every, affine=False)
        self.auxiliary_skips: nn.ModuleList | None = None

    def add_skip_dropout(self) -> None:
        """Let skip connections of stride 1 leave values out, as ``forward`` is told; strided ones have weights and need no such thing."""
        for edge in self.edges:
            assert isinstance(edge, nn.ModuleDict)
            if "skip_connect" in edge and isinstance(edge["skip_connect"], nn.Identity):
                edge["skip_connect"] = DroppedSkip()

    def add_auxiliary_skips(self) -> None:
        """Give every edge a skip connection outside alpha."""
        self.auxiliary_skips = nn.ModuleList(
            candidate("skip_connect", self._width(dst), stride=self._stride(src)) for src, dst in self.shape.sources
        )

    def _width(self, dst: int) -> int:
        return self.plan.channels_at(dst - self.shape.inputs) // self.channel_proportion

    def _stride(self, src: int) -> int:
        return 2 if self.is_reduction and src < self.shape.inputs else 1

    def forward(
        self,
        inputs: Sequence[Tensor],
        weight_EO: Tensor,
        edge_E: Tensor | None = None,
        *,
        backend: Backend,
        is_last: bool,
        auxiliary: Tensor | None = None,
        active: Active | None = None,
        dropout: Dropout = (0.0, 0),
        paths: Tensor | None = None,
    ) -> Tensor:
        """Return the joined nodes; ``weight_EO`` weighs the ``active`` operations of each edge (a row an edge), ``edge_E`` the edges.

        A cell that fits its inputs takes them as ``backend`` hands them on, any other as they are, and so it leaves its output.
        ``auxiliary`` (a scalar) weighs the skip connections outside alpha, where there are any; ``dropout`` is that of those within.
        ``paths`` (E, B) multiplies what the candidates of each edge make of each image, identities excepted; kernels that compute whole
        edges then stand back. A layer of a chain is given what all layers are, and takes its own.
        """
        self._set_dropout(*dropout)
        backend = backend if paths is None else backend.differentiable_twice()
        if self.row is not None:
            own = slice(self.row, self.row + 1)
            weight_EO, edge_E = weight_EO[own], None if edge_E is None else edge_E[own]
            active, paths = None if active is None else active[own], None if paths is None else paths[own]
        if edge_E is not None:
            weight_EO = weight_EO * edge_E.unsqueeze(1)
        skips = self._skips(auxiliary, edge_E)
        is_last = is_last or not self.fits_inputs
        if self.fits_inputs:
            inputs = [backend.preprocess(block, s) for block, s in zip((self.preprocess0, self.preprocess1), inputs)]
        if self.channel_proportion > 1:
            return self._partial(inputs, weight_EO, edge_E, skips, backend=backend, is_last=is_last, active=active, paths=paths)
        states = [backend.source(x) for x in inputs]
        edges = zip(self._computed(active, weight_EO), skips, self._scales(paths))
        for node, srcs in enumerate(self.shape.incoming):
            states = self.halvings.of(node, states, lambda halve, state: backend.source(halve(state.x)))
            terms: list[Term] = []
            for src in srcs:
                (edge, weight_O), skip, scale_B = next(edges)
                terms.extend(self.mixed(edge, dropped(states[src], scale_B), weight_O))
                if skip is not None:
                    terms.append(states[src].term(*skip))
            states.append(backend.source(backend.total(terms)))
        return backend.leave([states[state] for state in self.shape.concat], is_last=is_last)

    def _set_dropout(self, rate: float, seed: int) -> None:
        for number, edge in enumerate(self.edges):
            if isinstance(op := edge._modules.get("skip_connect"), DroppedSkip):
                op.rate, op.seed = rate, seed + number

    def _skips(self, auxiliary: Tensor | None, edge_E: Tensor | None) -> Sequence[tuple[nn.Module, Tensor] | None]:
        """Return for each edge its skip connection outside alpha and what weighs it, or None."""
        if self.auxiliary_skips is None or auxiliary is None:
            return [None] * len(self.edges)
        weights = [auxiliary] * len(self.edges) if edge_E is None else (auxiliary * edge_E).unbind()
        return list(zip(self.auxiliary_skips, weights))

    def _scales(self, paths: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(self.edges) if paths is None else paths.unbind()

    def _computed(self, active: Active | None, weight_EO: Tensor) -> Iterator[tuple[Edge, Tensor]]:
        """Yield the candidates of each edge that are computed, and their weights."""
        for number, (edge, weight_O) in enumerate(zip(self.edges, weight_EO.unbind())):
            assert isinstance(edge, nn.ModuleDict)
            if active is None:
                yield edge, weight_O
                continue
            names = [self.primitives[o] for o in active[number]]
            yield {name: edge[name] for name in names}, weight_O[: len(names)]

    def _partial(
        self,
        inputs: Sequence[Tensor],
        weight_EO: Tensor,
        edge_E: Tensor | None,
        skips: Sequence[tuple[nn.Module, Tensor] | None],
        *,
        backend: Backend,
        is_last: bool,
        active: Active | None,
        paths: Tensor | None,
    ) -> Tensor:
        states = [PartialState(x, backend, self.channel_proportion) for x in inputs]
        passing_E = weight_EO.new_ones(len(self.edges)) if edge_E is None else edge_E
        edges = zip(self._computed(active, weight_EO), passing_E.unbind(), skips, self._scales(paths))
        for node, srcs in enumerate(self.shape.incoming):
            states = self.halvings.of(node, states, lambda halve, state: PartialState(halve(state.x), backend, self.channel_proportion))
            terms: list[Term] = []
            passing: list[Term] = []
            for src in srcs:
                (edge, weight_O), weight, skip, scale_B = next(edges)
                terms.extend(self.mixed(edge, dropped(states[src].active, scale_B), weight_O))
                if skip is not None:
                    terms.append(states[src].active.term(*skip))
                passing.append((weight, states[src].rest(stride=self._stride(src))))
            summed = backend.source(backend.total(terms)).x
            states.append(PartialState(joined(summed, backend.total(passing), self.channel_proportion), backend, self.channel_proportion))
        return backend.leave(sources_of([states[state] for state in self.shape.concat], backend), is_last=is_last)
