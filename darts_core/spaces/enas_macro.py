"""The macro space of ENAS: layers that choose an operation and skip connections."""

from __future__ import annotations

from darts_core.genotype import LAYERS
from darts_core.nets.macro import MacroFrame
from darts_core.spaces import SPACES
from darts_core.spaces.space import MOST_LAYERS, CellSpace
from darts_core.supernet.shape import CellShape

MACRO_PRIMITIVES = (
    "fit_conv_3x3",
    "fit_conv_5x5",
    "fit_sep_conv_3x3",
    "fit_sep_conv_5x5",
    "fit_max_pool_3x3",
    "fit_avg_pool_3x3",
)
SKIPS = ("none", "skip_connect")


@SPACES.register("enas_macro")
def enas_macro(*, init_channels: int = 24, layers: int = 12, primitives: tuple[str, ...] = MACRO_PRIMITIVES) -> CellSpace:
    """ENAS macro (Pham et al., ICML 2018, arXiv:1802.03268): layers of one operation each, and skip connections from all before.

    A layer applies one of the ``primitives`` to the layer before it and adds the outputs of any earlier ones, the stem's included, that it
    is connected with. The sum is not joined as the paper has it: what reads it begins with a 1x1 convolution and BatchNorm. Ahead of the
    second and third third of the layers factorised reductions halve all states and double their channels. Recalled [M], not checked against
    the published code: that it adds up in the search, doubles the channels, and begins each operation with a 1x1 convolution.
    """
    if set(primitives) & set(SKIPS):
        raise ValueError(f"space.primitives must be operations of a layer, not {' or '.join(SKIPS)}. Got {list(primitives)}.")
    if not primitives:
        raise ValueError(f"space.primitives must hold an operation of a layer. Got {list(primitives)}.")
    if layers > MOST_LAYERS:
        raise ValueError(f"space.layers must be at most {MOST_LAYERS}. Got {layers}.")
    frame = MacroFrame(layers)
    frame.check(layers=layers, stem="cifar", auxiliary=False, section="space")
    rows = [primitives if src == layer else SKIPS for layer in range(layers) for src in range(layer + 1)]
    return CellSpace(
        name="enas_macro",
        primitives=(*SKIPS, *primitives),
        shape=CellShape(
            nodes=layers,
            inputs=1,
            kept_edges=None,
            may_be_none=True,
            joined_nodes=1,
            normalises_pools=False,
            reads=tuple(tuple(range(layer + 1)) for layer in range(layers)),
        ),
        cell_types=(LAYERS,),
        frame=frame,
        init_channels=init_channels,
        layers=layers,
        stem="cifar",
        edge_primitives={LAYERS: rows},
    )
