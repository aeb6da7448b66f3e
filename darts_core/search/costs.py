"""What an architecture is expected to cost: the costs of its operations, weighed by their probabilities, as a penalty.

The cost of a cell is the sum of those of its operations, so that its expectation is exact and has a gradient by alpha without sampling
(SNAS, arXiv:1812.09926, section 2.3; ProxylessNAS, arXiv:1812.00332, section 3.3).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from darts_core.metrics import count_macs, count_parameters
from darts_core.ops import OPS
from darts_core.search.ranges import LARGEST
from darts_core.supernet.backend import Reference
from darts_core.supernet.cell import SearchCell
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.kept import Kept
from darts_core.supernet.supernet import Supernet

Costs = Callable[[Supernet], Mapping[str, Tensor]]
"""supernet -> cost_EO of each cell type, of all its cells together."""

SIDE = 64
"""Of the image that MACs are counted on, pixels. Only shares of a total are used, which do not depend on it but for rounding."""


@dataclass(frozen=True)
class ExpectedCost:
    """``scale`` times the expected cost of the architecture over ``reference``, or, where that is None, over that of the dearest one."""

    scale: float
    costs: Costs
    reference: float | None = None

    def __call__(self, supernet: Supernet, progress: float) -> Tensor:
        """Return the penalty."""
        found = self.costs(supernet)
        expected = torch.stack([(op_EO * found[c].to(op_EO)).sum() for c, op_EO in supernet.op_weights().items()]).sum()
        dearest = sum(float(cost_EO.max(dim=1).values.sum()) for cost_EO in found.values())
        return self.scale * expected / (self.reference or dearest or 1.0)


@dataclass(frozen=True)
class NamedCosts:
    """A cost for each operation by name, wherever it stands: milliseconds, say, measured on the device that the network is for."""

    cost: Mapping[str, float]
    key: str

    def check(self, primitives: Sequence[str]) -> None:
        """Raise ``ValueError`` where an operation has no cost, a name is none, or nothing costs anything; ``none`` needs no cost."""
        needed = [name for name in primitives if name != "none"]
        missing = [name for name in needed if name not in self.cost]
        unknown = [name for name in self.cost if name not in OPS]
        wrong = [name for name, cost in self.cost.items() if not 0.0 <= cost <= LARGEST]
        if missing or unknown or wrong:
            raise ValueError(
                f"{self.key}: a number from 0 to {LARGEST:g} for each of {', '.join(needed)} expected. "
                f"Missing: {', '.join(missing) or '-'}; unknown: {', '.join(unknown) or '-'}; out of range: {', '.join(wrong) or '-'}."
            )
        if not any(self.cost.get(name, 0.0) > 0.0 for name in primitives):
            raise ValueError(f"{self.key}: a number above 0 for at least one of {', '.join(needed)} expected. Got 0 for all.")

    def __call__(self, supernet: Supernet) -> dict[str, Tensor]:
        """Return cost_EO of each cell type: the named cost, as often as the operation stands there."""
        self.check(supernet.primitives)
        found = _zeros(supernet)
        for cell_type, (edge, o), _ in _candidates(supernet):
            found[cell_type][edge, o] += self.cost.get(supernet.primitives[o], 0.0)
        return found


@dataclass(frozen=True)
class CountedCosts:
    """Parameters or MACs of the supernet's own candidates, edge by edge: a strided one counts as such. Counted once a supernet.

    All candidates count whenever that is, those too that a selection has put aside by then, as in a search that is resumed within one.
    """

    kind: Literal["parameters", "macs"]
    _known: WeakKeyDictionary[Supernet, dict[str, Tensor]] = field(default_factory=WeakKeyDictionary, compare=False, repr=False)

    def __call__(self, supernet: Supernet) -> dict[str, Tensor]:
        """Return cost_EO of each cell type, summed over its cells."""
        if supernet not in self._known:
            self._known[supernet] = self._counted(supernet)
        return self._known[supernet]

    def _counted(self, supernet: Supernet) -> dict[str, Tensor]:
        trial, seen = copy.deepcopy(supernet).to("meta"), dict[nn.Module, torch.Size]()
        trial.use(Reference(), torch.device("meta"))
        like = next(trial.parameters())
        if self.kind == "macs":
            for _, _, op in _candidates(trial):
                op.register_forward_hook(lambda module, inputs, output: seen.update({module: inputs[0].shape}))
            all_there = {c: Kept(operations=len(offer.primitives), left=offer.ops) for c, offer in trial.offers.items()}
            with torch.no_grad(), trial.keeping(all_there), trial.weighing({c: offer.mask(like) for c, offer in trial.offers.items()}):
                assert isinstance(trial, ImageSupernet)
                trial.eval()(like.new_empty(1, trial.in_channels, SIDE, SIDE))
        found = _zeros(trial)
        counts: dict[tuple[str, torch.Size], int] = {}
        for cell_type, (edge, o), op in _candidates(trial):
            if self.kind == "parameters":
                cost = count_parameters(op)
            elif op not in seen:
                continue  # none, which is not computed
            else:
                alike = (repr(op), seen[op])
                cost = counts[alike] if alike in counts else count_macs(op, input_shape=tuple(seen[op][1:]))  # type: ignore[arg-type]
                counts[alike] = cost
            found[cell_type][edge, o] += cost
        return found


def check_costs(penalties: Sequence[object], primitives: Sequence[str]) -> None:
    """Raise ``ValueError`` where a penalty has no cost for one of the operations: ahead of a search, not after its warm-up."""
    for penalty in penalties:
        if isinstance(penalty, ExpectedCost) and isinstance(penalty.costs, NamedCosts):
            penalty.costs.check(primitives)


def _zeros(supernet: Supernet) -> dict[str, Tensor]:
    return {c: torch.zeros(len(offer.ops), len(offer.primitives), dtype=torch.float64) for c, offer in supernet.offers.items()}


def _candidates(supernet: Supernet) -> list[tuple[str, tuple[int, int], nn.Module]]:
    """Return (cell type, (edge, operation), module) of every candidate of every cell."""
    assert isinstance(supernet, ImageSupernet)  # search.method.check_space lets no other here
    found: list[tuple[str, tuple[int, int], nn.Module]] = []
    for cell_type, cell in zip(supernet.type_of_cell, supernet.cells):
        if cell_type is None or not isinstance(cell, SearchCell):
            continue
        for number, edge in enumerate(cell.edges, start=cell.row or 0):  # a layer of a chain has one row of all
            assert isinstance(edge, nn.ModuleDict)
            found += [(cell_type, (number, supernet.primitives.index(name)), op) for name, op in edge.items()]
    return found
