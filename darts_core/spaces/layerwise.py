"""A chain of layers, each of which chooses its operation."""

from __future__ import annotations

from pathlib import Path

from darts_core.genotype import LAYERS
from darts_core.nets.layers import LayersFrame
from darts_core.spaces import SPACES
from darts_core.spaces.layer_file import read_layer_file
from darts_core.spaces.restrict import narrowed
from darts_core.spaces.space import CellSpace
from darts_core.supernet.shape import CellShape


@SPACES.register("layerwise")
def layerwise(*, search_space: Path | None = None, primitives: tuple[str, ...] | None = None) -> CellSpace:
    """A chain of layers, each of one operation, mixed as in DARTS (arXiv:1806.09055); from a search_space.json.

    A layer has the channels and the stride that the file gives it, whichever operation it chooses, and so all layers of a mixture agree in
    resolution: at stride 2 every operation halves it, pools as convolutions, and those without a stride of their own work on the means of
    2x2 pixels; at stride 1 a pool keeps it. Between layers of unlike channels stands a 1x1 convolution. The strongest operation of each
    layer is derived, never ``none``, which would end the chain; where one operation a layer is drawn, leave it out. ``primitives`` are
    those of the file's operations that are searched.
    """
    file = read_layer_file(search_space)
    count = len(file.layers)
    chosen = file.primitives if primitives is None else primitives
    names = [f"{layer}-{layer + 1}" for layer in range(count)]
    return CellSpace(
        name="layerwise",
        primitives=chosen,
        edge_primitives=narrowed({LAYERS: file.operations}, chosen, known=file.primitives, names=names),
        shape=CellShape(
            nodes=count,
            inputs=1,
            kept_edges=None,
            joined_nodes=1,
            normalises_pools=False,
            reads=tuple((layer,) for layer in range(count)),
        ),
        cell_types=(LAYERS,),
        frame=LayersFrame(file.layers, file.init_channels, file.source),
        init_channels=file.init_channels,
        layers=count,
        stem="cifar",
        widths=tuple(layer.channels for layer in file.layers),
    )
