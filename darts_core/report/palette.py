"""One colour a family of operations, one dash pattern a member: the same in every drawing and figure.

Blue, vermilion and green after Okabe and Ito (2008), darkened so that white text can stand on them; the test measures that families stay
apart for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

INK = "#1f2933"  # text and axes
MUTED = "#66737f"  # secondary text
FAINT = "#c9d1d8"  # grid lines, borders
WASH = "#f2f4f6"  # quiet fills
PAPER = "#ffffff"

BLUE, ORANGE, GREEN, PURPLE, GREY, SKY, AMBER = "#0067a5", "#c1500a", "#00805c", "#4a1486", "#66737f", "#3f9bcf", "#b8860b"


@dataclass(frozen=True)
class Family:
    """Operations of one kind: ``name`` for a legend, ``colour`` as #rrggbb."""

    name: str
    colour: str


SEPARABLE = Family("separable convolution", BLUE)
DILATED = Family("dilated convolution", ORANGE)
POOLING = Family("pooling", GREEN)
CONVOLUTION = Family("convolution", PURPLE)
IDENTITY = Family("skip connection", GREY)
ZERO = Family("zero", "#98a4af")
OTHER = Family("other", INK)
TANH = Family("tanh", BLUE)  # of recurrent cells, which hold none of the families above
RELU = Family("relu", ORANGE)
SIGMOID = Family("sigmoid", GREEN)
SAME = Family("identity", GREY)
RECURRENT = (TANH, RELU, SIGMOID, SAME)
FAMILIES = (SEPARABLE, DILATED, CONVOLUTION, POOLING, IDENTITY, ZERO, OTHER)

_PREFIXES = (
    ("sep_conv", SEPARABLE),
    ("dil_conv", DILATED),
    ("max_pool", POOLING),
    ("avg_pool", POOLING),
    ("skip", IDENTITY),
    ("identity", SAME),
    ("none", ZERO),
    ("tanh", TANH),
    ("relu", RELU),
    ("sigmoid", SIGMOID),
)
_DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = ("solid", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, INK)


def family(op: str) -> Family:
    """Return the family that an operation's name belongs to; a name without a known prefix is a convolution or ``OTHER``."""
    for prefix, found in _PREFIXES:
        if op.removeprefix("fit_").startswith(prefix):
            return found
    return CONVOLUTION if "conv" in op else OTHER


def dashes(ops: Sequence[str]) -> dict[str, str | tuple[float, tuple[float, ...]]]:
    """Return a dash pattern for each of ``ops``: solid for the first member of a family, others for the next ones."""
    seen: dict[Family, int] = {}
    patterns = {}
    for op in ops:
        rank = seen.get(family(op), 0)
        seen[family(op)] = rank + 1
        patterns[op] = _DASHES[rank % len(_DASHES)]
    return patterns


def network_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each network: blue for the first one, grey for every random architecture (``random_*``), others for the rest."""
    others = cycle(SERIES[1:])
    return {name: BLUE if k == 0 else GREY if name.startswith("random_") else next(others) for k, name in enumerate(names)}
