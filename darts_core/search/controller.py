"""The controller of ENAS: an LSTM that settles an architecture decision by decision (Pham et al., ICML 2018, arXiv:1802.03268)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.supernet.offer import Offer
from darts_core.supernet.policy import Drawn, Joint, derivable, first_path, one_path
from darts_core.supernet.sampled import Weights
from darts_core.supernet.shape import CellShape

START = 0.1  # parameters begin evenly within plus and minus this
LOGGED = 256  # architectures that the logged probabilities are averaged over
LEAST = 1e-6  # of these, for a logarithm of them is taken
SKIP_OR_NOT = {"none", "skip_connect"}  # what an edge offers that is a skip connection or nothing
BARRED = -1e9  # the logit of what cannot be chosen: a probability of 0, without a NaN in the entropy

Choose = Callable[[Tensor], Tensor]
"""The logarithms of the probabilities (S, K) -> what is chosen, (S,)."""


@dataclass(frozen=True, kw_only=True)
class ChosenEdge:
    """The operation (S,) that each of S architectures has on an edge from ``src`` (S,), and how probable each one was, (S, O).

    ``row`` (S,) is the number of that edge in the cell.
    """

    cell_type: str
    src: Tensor
    dst: int
    row: Tensor
    op: Tensor
    probability_SO: Tensor  # noqa: N815


class Rollout:
    """S architectures on their way: the LSTM's state, the decisions so far (S,), and their log-probability and entropy (S,) in nats."""

    def __init__(self, controller: Controller, number: int, choose: Choose) -> None:
        self._controller = controller
        self._choose = choose
        self._none_SH = controller.start.new_zeros(number, controller.hidden_units)
        self._state = self._none_SH, self._none_SH
        self.last = controller.start.repeat(number, 1)
        self.log_prob_S = self._none_SH[:, 0]
        self.entropy_S = self._none_SH[:, 0]
        self.decisions: list[Tensor] = []
        self.edges: list[ChosenEdge] = []

    def step(self, x_SH: Tensor) -> Tensor:
        """Feed the LSTM; return its output."""
        self._state = self._controller.lstm(x_SH, self._state)
        return self._state[0]

    def decide(self, logits_SK: Tensor, *, barred_SK: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decision (S,) and the probabilities (S, K) that it had."""
        logits_SK = logits_SK / self._controller.temperature
        if (most := self._controller.tanh_constant) is not None:
            logits_SK = most * logits_SK.tanh()
        log_SK = logits_SK.masked_fill(barred_SK, BARRED).log_softmax(dim=-1)
        decision = self._choose(log_SK.detach())
        self.decisions.append(decision)
        self.log_prob_S = self.log_prob_S + log_SK.gather(1, decision.unsqueeze(1)).squeeze(1)
        self.entropy_S = self.entropy_S - (log_SK.exp() * log_SK).sum(1)
        return decision, log_SK.exp()

    def chosen(self, cell_type: str, number: int = 0) -> dict[tuple[int, int], int]:
        """Return the operation of each edge of a cell of one of the architectures, by (source, destination)."""
        own = [edge for edge in self.edges if edge.cell_type == cell_type]
        srcs, ops = (torch.stack([getattr(edge, name)[number] for edge in own]).tolist() for name in ("src", "op"))  # of a GPU at once
        return {(src, edge.dst): op for edge, src, op in zip(own, srcs, ops)}


class Controller(Joint):
    """For each node of each cell type in turn, which earlier states it reads, one after the other, and then the operation on each.

    The states that a node reads differ, where the paper lets them coincide, for an edge of the supernet computes one operation. They are
    chosen by attention to the LSTM's output at the end of each node, operations by a linear map; logits are
    ``tanh_constant * tanh(logits / temperature)``, without the tanh where the constant is None. Where a cell keeps all edges, as in
    NAS-Bench-201, operations are the only decisions. The published code's fixed favour for convolutions is left out.
    """

    offers: Mapping[str, Offer]
    shape: CellShape
    lstm: nn.LSTMCell

    def __init__(self, *, hidden_units: int, temperature: float, tanh_constant: float | None) -> None:
        super().__init__()
        self.hidden_units = hidden_units
        self.temperature = temperature
        self.tanh_constant = tanh_constant

    def fitted(self, offers: Mapping[str, Offer], shape: CellShape, *, generator: torch.Generator) -> Joint:
        """Return a controller of these cells."""
        own = self.fresh(generator)
        assert isinstance(own, Controller)
        own.offers, own.shape = offers, shape
        own._build(generator)
        return own

    def _build(self, generator: torch.Generator) -> None:
        hidden, operations = self.hidden_units, len(next(iter(self.offers.values())).primitives)
        with torch.device("meta"):  # where parameters take nothing from torch's own random numbers
            self.start = nn.Parameter(torch.empty(1, hidden))
            self.lstm = nn.LSTMCell(hidden, hidden)
            self.op_code = nn.Embedding(operations, hidden)
            self.op_logits = nn.Linear(hidden, operations, bias=False)
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
        for cell_type in self.offers:
            barred_EO = self._barred(cell_type)
            anchors = [run.step(run.last) for _ in range(self.shape.inputs)]
            row = 0
            for dst, read in enumerate(self.shape.incoming, start=self.shape.inputs):
                known_SKH = torch.stack([anchors[src] for src in read], dim=1)
                states = torch.tensor(read, device=known_SKH.device)
                for k_S in self._sources(run, known_SKH):
                    out = run.step(run.last + _at(known_SKH, k_S))
                    op, probability_SO = run.decide(self.op_logits(out), barred_SK=barred_EO[row + k_S])
                    run.last = self.op_code(op)
                    run.edges.append(
                        ChosenEdge(cell_type=cell_type, src=states[k_S], dst=dst, row=row + k_S, op=op, probability_SO=probability_SO)
                    )
                anchors.append(run.step(run.last))
                run.last = self.start.repeat(number, 1)
                row += len(read)
        return run

    def _barred(self, cell_type: str) -> Tensor:
        """Return which operations may not be derived on each edge, (E, O)."""
        offer = self.offers[cell_type]
        barred = [[o not in own for o in range(len(offer.primitives))] for own in derivable(offer, self.shape)]
        return torch.tensor(barred, device=self.start.device)

    def _sources(self, run: Rollout, known_SKH: Tensor) -> list[Tensor]:
        """Return which of the states that a node may read it does read, (S,) each."""
        number, count, _ = known_SKH.shape
        if not self._has_choice(count):
            return [torch.full((number,), k, device=known_SKH.device) for k in range(count)]
        taken_SK = torch.zeros(number, count, dtype=torch.bool, device=known_SKH.device)
        sources: list[Tensor] = []
        for _ in range(self.shape.kept_edges or count):
            query_S1H = self.from_output(run.step(run.last)).unsqueeze(1)
            logits_SK = self.source_logit((self.from_anchor(known_SKH) + query_S1H).tanh()).squeeze(2)
            k_S, _ = run.decide(logits_SK, barred_SK=taken_SK)
            taken_SK = taken_SK.scatter(1, k_S.unsqueeze(1), True)
            run.last = _at(known_SKH, k_S)
            sources.append(k_S)
        return sources

    def _drawn(self, log_SK: Tensor) -> Tensor:
        if log_SK.is_meta:
            return log_SK.argmax(dim=-1)
        return (log_SK - self.exponential(log_SK).log()).argmax(dim=-1)

    def draw(self, alphas: Mapping[str, Tensor], offers: Mapping[str, Offer]) -> Drawn:
        """Return an architecture of the cells that the controller was fitted to."""
        run = self.roll(1)
        weights = {cell_type: self._path(run, cell_type) for cell_type in self.offers}
        return Drawn(weights=weights, log_prob=run.log_prob_S[0], entropy=run.entropy_S[0], skips=self._skips(run))

    def _skips(self, run: Rollout) -> tuple[Tensor, ...]:
        """Return how probable each skip connection of the first architecture was, given the decisions ahead of it, layer by layer."""
        found: dict[tuple[str, int], list[Tensor]] = {}
        for edge in run.edges:
            offer = self.offers[edge.cell_type]
            if set(offer.names[int(edge.row[0])]) == SKIP_OR_NOT:
                skip = edge.probability_SO[0, offer.primitives.index("skip_connect")]
                found.setdefault((edge.cell_type, edge.dst), []).append(skip)
        return tuple(torch.stack(each) for each in found.values())

    def together(self) -> Mapping[str, Weights]:
        """Return the architecture of a forward pass: drawn, or in evaluation mode that of the most probable decisions."""
        run = self.roll(1, None if self.training else lambda log_SK: log_SK.argmax(dim=-1))
        return {cell_type: self._path(run, cell_type) for cell_type in self.offers}

    def _path(self, run: Rollout, cell_type: str) -> Weights:
        offer = self.offers[cell_type]
        chosen = first_path(offer, self.shape) if self.start.is_meta else run.chosen(cell_type)
        return one_path(chosen, offer=offer, shape=self.shape, like=self.start)

    @torch.no_grad()
    def marginals(self) -> dict[str, Tensor]:
        """Return how probable each operation is on each edge, op_EO of each cell type: the mean of 256 draws, always of the same numbers.

        What the edges that a node does not read lack, ``none`` has where it is offered, so that a row sums to 1; no operation that is
        offered has less than 1e-6.
        """
        before = self._random
        self._random = torch.Generator().manual_seed(0).get_state()
        run = self.roll(LOGGED)
        self._random = before
        found = {}
        for cell_type, offer in self.offers.items():
            op_EO = self.start.new_zeros(len(offer.ops), len(offer.primitives))
            for edge in run.edges:
                if edge.cell_type == cell_type:
                    op_EO.index_add_(0, edge.row, edge.probability_SO / LOGGED)
            if "none" in offer.primitives and not self.shape.may_be_none:
                op_EO[:, offer.primitives.index("none")] = 1.0 - op_EO.sum(1)
            found[cell_type] = op_EO.clamp_min(LEAST) * offer.mask(op_EO)
        return found


def _at(known_SNH: Tensor, src: Tensor) -> Tensor:
    """Return of each architecture the state that ``src`` (S,) names, (S, H)."""
    return known_SNH[torch.arange(len(src), device=src.device), src]
