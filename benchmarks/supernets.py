"""The supernets that the benchmarks measure: the paper's, in every way that it can be computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.backend import BACKENDS, Backend
from darts_core.supernet.supernet import Supernet

CPU = torch.device("cpu")
ORDERS = {"first": "first", "second": "unrolled", "exact": "exact"}
CLASSES = 10


def backends() -> list[str]:
    """Return the backends that are measured unless others are named: without ``compiled``, which takes minutes for each size."""
    return [name for name in BACKENDS if name != "compiled" and (name != "native" or kernels.is_available())]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a supernet and its batches: channels, cells, nodes, pixels a side."""

    channels: int = 16
    cells: int = 8
    nodes: int = 4
    pixels: int = 32


def build(size: Size, *, order: str, backend: str, memory: str) -> Bilevel:
    """Return the steps of a supernet of ``size`` for images of three channels, placed on the CPU."""
    space = SPACES.build("darts_cnn", {"init_channels": size.channels, "layers": size.cells, "nodes": size.nodes})
    method = METHODS.build("darts", {"arch_gradient": ORDERS[order]})
    torch.manual_seed(0)
    supernet = method.supernet(space, in_channels=3, num_classes=CLASSES, generator=torch.Generator().manual_seed(0))
    chosen: Backend = BACKENDS[backend]()
    supernet.use(chosen, CPU, is_lean=memory == "lean")
    return Bilevel(supernet, method, SearchConfig())


def batch(size: Size, number: int, *, seed: int, supernet: Supernet) -> tuple[Tensor, Tensor]:
    """Return ``number`` images and labels in the layout of the backend."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(number, 3, size.pixels, size.pixels, generator=generator)
    labels = torch.randint(CLASSES, (number,), generator=generator)
    return images.contiguous(memory_format=supernet.backend.memory_format(CPU)), labels
