"""What a cell looks like before an operation is chosen for each edge, and what a derived one keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class CellShape:
    """States are numbered: the ``inputs``, then ``nodes`` of them, each of which reads all before it, or those that ``reads`` names.

    ``kept_edges`` of a node's edges are derived (None: all of them), ``none`` only where ``may_be_none``. The output joins the last
    ``joined_nodes`` (None: all). ``normalises_pools`` puts a BatchNorm after each pooling candidate.
    """

    nodes: int
    inputs: int = 2
    kept_edges: int | None = 2
    may_be_none: bool = False
    joined_nodes: int | None = None
    normalises_pools: bool = True
    reads: tuple[tuple[int, ...], ...] | None = None

    @property
    def layer(self) -> CellShape:
        """The shape of one layer, where the nodes are the layers of a chain."""
        return replace(self, nodes=1, reads=None)

    @property
    def fan_in(self) -> tuple[int, ...]:
        """How many edges lead to each node."""
        return tuple(map(len, self.incoming))

    @property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """The states that each node reads."""
        return self.reads or tuple(tuple(range(self.inputs + node)) for node in range(self.nodes))

    @property
    def sources(self) -> list[tuple[int, int]]:
        """(source state, destination state) of each edge, node by node."""
        return [(src, dst) for dst, read in enumerate(self.incoming, start=self.inputs) for src in read]

    @property
    def concat(self) -> tuple[int, ...]:
        """The states that the output joins."""
        states = range(self.inputs, self.inputs + self.nodes)
        return tuple(states if self.joined_nodes is None else states[-self.joined_nodes :])

    def choosable(self, primitives: Sequence[str]) -> list[int]:
        """Return the numbers of the primitives that may be derived."""
        return [o for o, name in enumerate(primitives) if self.may_be_none or name != "none"]
