"""The controller of ENAS: an LSTM that settles an architecture decision by decision (Pham et al., ICML 2018, arXiv:1802.03268)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.supernet.policy import Drawn, Joint, one_path
from darts_core.supernet.sampled import Weights
from darts_core.supernet.shape import CellShape

START = 0.1  # parameters begin evenly within plus and minus this
LOGGED = 256  # architectures that the logged probabilities are averaged over
LEAST = 1e-6  # of these, for a logarithm of them is taken
TAKEN = -1e9  # the logit of a state that the node reads already

Choose = Callable[[Tensor], Tensor]
"""The logarithms of the probabilities (S, K) -> what is chosen, (S,)."""


@dataclass(frozen=True, kw_only=True)
class ChosenEdge:
    """The operation (S,) that each of S architectures has on an edge from ``src`` (S,), and how probable each one was, (S, O)."""

    cell_type: str
    src: Tensor
    dst: int
    op: Tensor
    probability_SO: Tensor  # noqa: N815


class Rollout:
    """S architectures on their way: the LSTM's state, the decisions so far (S,), and their log-probability and entropy (S,) in nats."""

    def __init__(self, controller: Controller, number: int, choose: Choose) -> None:
        self._controller = controller
        self._choose = choose
        self._none_SH = controller.start.new_zeros(number, controller.hidden_units)
        self._state = self._none_SH, self._none_SH
        self.last = controller.start.expand(number, -1)
        self.log_prob_S = self._none_SH[:, 0]
        self.entropy_S = self._none_SH[:, 0]
        self.decisions: list[Tensor] = []
        self.edges: list[ChosenEdge] = []

    def step(self, x_SH: Tensor) -> Tensor:
        """Feed the LSTM; return its output."""
        self._state = self._controller.lstm(x_SH, self._state)
        return self._state[0]

    def decide(self, logits_SK: Tensor, *, taken_SK: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the decision (S,) and the probabilities (S, K) that it had."""
        logits_SK = logits_SK / self._controller.temperature
        if (most := self._controller.tanh_constant) is not None:
            logits_SK = most * logits_SK.tanh()
        if taken_SK is not None:
            logits_SK = logits_SK.masked_fill(taken_SK, TAKEN)
        log_SK = logits_SK.log_softmax(dim=-1)
        decision = self._choose(log_SK.detach())
        self.decisions.append(decision)
        self.log_prob_S = self.log_prob_S + log_SK.gather(1, decision.unsqueeze(1)).squeeze(1)
        self.entropy_S = self.entropy_S - (log_SK.exp() * log_SK).sum(1)
        return decision, log_SK.exp()

    def chosen(self, cell_type: str, number: int = 0) -> dict[tuple[int, int], int]:
        """Return the operation of each edge of a cell of one of the architectures, by (source, destination)."""
        return {(int(e.src[number]), e.dst): int(e.op[number]) for e in self.edges if e.cell_type == cell_type}


class Controller(Joint):
    """For each node of each cell type in turn, which earlier states it reads, one after the other, and then the operation on each.

    The states that a node reads differ, where the paper lets them coincide, for an edge of the supernet computes one operation. They are
    chosen by attention to the LSTM's output at the end of each node, operations by a linear map; logits are
    ``tanh_constant * tanh(logits / temperature)``, without the tanh where the constant is None. Where a cell keeps all edges, as in
    NAS-Bench-201, operations are the only decisions. The published code's fixed favour for convolutions is left out.
    """

    primitives: tuple[str, ...]
    shape: CellShape
    cell_types: tuple[str, ...]
    usable: Tensor  # the numbers of the primitives that may be derived
    lstm: nn.LSTMCell

    def __init__(self, *, hidden_units: int, temperature: float, tanh_constant: float | None) -> None:
        super().__init__()
        self.hidden_units = hidden_units
        self.temperature = temperature
        self.tanh_constant = tanh_constant

    def fitted(self, *, primitives: Sequence[str], shape: CellShape, cell_types: Sequence[str], generator: torch.Generator) -> Joint:
        """Return a controller of these cells."""
        own = self.fresh(generator)
        assert isinstance(own, Controller)
        own.primitives, own.shape, own.cell_types = tuple(primitives), shape, tuple(cell_types)
        own.usable = torch.tensor(shape.choosable(primitives))
        own._build(generator)
        return own

    def _build(self, generator: torch.Generator) -> None:
        hidden = self.hidden_units
        with torch.device("meta"):  # where parameters take nothing from torch's own random numbers
            self.start = nn.Parameter(torch.empty(1, hidden))
            self.lstm = nn.LSTMCell(hidden, hidden)
            self.op_code = nn.Embedding(len(self.usable), hidden)
            self.op_logits = nn.Linear(hidden, len(self.usable), bias=False)
            if any(self._has_choice(count) for count in self.shape.fan_in):
                self.from_anchor = nn.Linear(hidden, hidden, bias=False)
                self.from_output = nn.Linear(hidden, hidden, bias=False)
                self.source_logit = nn.Linear(hidden, 1, bias=False)
        self.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-START, START, generator=generator)

    def _has_choice(self, count: int) -> bool:
        return self.shape.kept_edges is not None and self.shape.kept_edges < count

    def roll(self, number: int, choose: Choose | None = None) -> Rollout:
        """Return ``number`` architectures, decided by ``choose``: drawn, unless told."""
        run = Rollout(self, number, choose or self._drawn)
        for cell_type in self.cell_types:
            anchors = [run.step(run.last) for _ in range(self.shape.inputs)]
            for dst, count in enumerate(self.shape.fan_in, start=self.shape.inputs):
                known_SNH = torch.stack(anchors[:count], dim=1)
                for src in self._sources(run, known_SNH):
                    out = run.step(run.last + _at(known_SNH, src))
                    number_S, probability_SK = run.decide(self.op_logits(out))
                    run.last = self.op_code(number_S)
                    run.edges.append(self._edge(cell_type, src, dst, number_S, probability_SK))
                anchors.append(run.step(run.last))
                run.last = self.start.expand(number, -1)
        return run

    def _sources(self, run: Rollout, known_SNH: Tensor) -> list[Tensor]:
        """Return the states (S,) that a node reads."""
        number, count, _ = known_SNH.shape
        if not self._has_choice(count):
            return [torch.full((number,), src, device=known_SNH.device) for src in range(count)]
        taken_SN = torch.zeros(number, count, dtype=torch.bool, device=known_SNH.device)
        sources: list[Tensor] = []
        for _ in range(self.shape.kept_edges or count):
            query_S1H = self.from_output(run.step(run.last)).unsqueeze(1)
            logits_SN = self.source_logit((self.from_anchor(known_SNH) + query_S1H).tanh()).squeeze(2)
            src, _ = run.decide(logits_SN, taken_SK=taken_SN)
            taken_SN = taken_SN.scatter(1, src.unsqueeze(1), True)
            run.last = _at(known_SNH, src)
            sources.append(src)
        return sources

    def _edge(self, cell_type: str, src: Tensor, dst: int, number_S: Tensor, probability_SK: Tensor) -> ChosenEdge:
        usable = self.usable.to(number_S.device)
        every_SO = probability_SK.new_zeros(len(number_S), len(self.primitives))
        return ChosenEdge(
            cell_type=cell_type, src=src, dst=dst, op=usable[number_S], probability_SO=every_SO.index_copy(1, usable, probability_SK)
        )

    def _drawn(self, log_SK: Tensor) -> Tensor:
        if log_SK.is_meta:
            return log_SK.argmax(dim=-1)
        return (log_SK - self.exponential(log_SK).log()).argmax(dim=-1)

    def draw(self, alphas: Mapping[str, Tensor]) -> Drawn:
        """Return an architecture."""
        run = self.roll(1)
        weights = {cell_type: self._path(run, cell_type) for cell_type in self.cell_types}
        return Drawn(weights=weights, log_prob=run.log_prob_S[0], entropy=run.entropy_S[0])

    def together(self) -> Mapping[str, Weights]:
        """Return the architecture of a forward pass: drawn, or in evaluation mode that of the most probable decisions."""
        run = self.roll(1, None if self.training else lambda log_SK: log_SK.argmax(dim=-1))
        return {cell_type: self._path(run, cell_type) for cell_type in self.cell_types}

    def _path(self, run: Rollout, cell_type: str) -> Weights:
        if self.start.is_meta:  # nothing is known of it: each node reads its first states, by each operation in turn
            kept = [(src, dst) for src, dst in self.shape.sources if not self._has_choice(dst) or src < (self.shape.kept_edges or dst)]
            chosen = {ends: int(self.usable[number % len(self.usable)]) for number, ends in enumerate(kept)}
        else:
            chosen = run.chosen(cell_type)
        return one_path(chosen, primitives=self.primitives, shape=self.shape, like=self.start)

    @torch.no_grad()
    def marginals(self) -> dict[str, Tensor]:
        """Return how probable each operation is on each edge, op_EO of each cell type: the mean of 256 draws, always of the same numbers.

        What the edges that a node does not read lack, ``none`` has where it is a primitive, so that a row sums to 1; it has no less than
        1e-6 anywhere.
        """
        before = self._random
        self._random = torch.Generator().manual_seed(0).get_state()
        run = self.roll(LOGGED)
        self._random = before
        row_of = {ends: row for row, ends in enumerate(self.shape.sources)}
        found = {cell_type: self.start.new_zeros(len(row_of), len(self.primitives)) for cell_type in self.cell_types}
        for edge in run.edges:
            rows = torch.tensor([row_of[int(src), edge.dst] for src in edge.src], device=self.start.device)
            found[edge.cell_type].index_add_(0, rows, edge.probability_SO / LOGGED)
        if "none" in self.primitives and not self.shape.may_be_none:
            for op_EO in found.values():
                op_EO[:, self.primitives.index("none")] = 1.0 - op_EO.sum(1)
        return {cell_type: op_EO.clamp_min(LEAST) for cell_type, op_EO in found.items()}


def _at(known_SNH: Tensor, src: Tensor) -> Tensor:
    """Return of each architecture the state that ``src`` (S,) names, (S, H)."""
    return known_SNH[torch.arange(len(src), device=src.device), src]
