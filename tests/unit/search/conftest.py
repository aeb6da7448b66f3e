from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn

Make = Callable[..., Bilevel]


@pytest.fixture
def make() -> Make:
    """Build the steps on a small supernet in float64, always from the same start."""

    def build(order: str = "first", **options: object) -> Bilevel:
        torch.manual_seed(0)
        method = METHODS.build("darts", {"arch_gradient": order})
        space = darts_cnn(init_channels=2, layers=3, nodes=1, primitives=("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
        supernet = method.supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0))
        return Bilevel(supernet.double(), method, SearchConfig(**options))

    return build


@pytest.fixture
def batch() -> Callable[[int], tuple[torch.Tensor, torch.Tensor]]:
    """Return the batch of 6 random images of that number."""

    def draw(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(number)
        return torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (6,), generator=generator)

    return draw
