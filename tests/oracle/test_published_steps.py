"""The steps that benchmarks measure the others against are the same steps."""

import pytest
import torch

from benchmarks.published import PublishedSteps
from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import Reference

CPU = torch.device("cpu")


def steps(order):
    method = METHODS.build("darts", {"arch_gradient": order})
    space = darts_cnn(init_channels=4, layers=3, nodes=2)
    torch.manual_seed(0)
    supernet = method.supernet(space, in_channels=3, num_classes=5, generator=torch.Generator().manual_seed(0)).double()
    supernet.use(Reference(), CPU)
    return Bilevel(supernet, method, SearchConfig(weight_decay=0.01, grad_clip=0.5))


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=generator), torch.randint(5, (4,), generator=generator)


@pytest.mark.parametrize("order", ["first", "unrolled"])
def test_they_move_alpha_and_weights_alike(order):
    ours, theirs = steps(order), PublishedSteps(steps(order), second=order == "unrolled")
    before = [p.detach().clone() for p in ours.supernet.parameters()]
    for number in (1, 3, 5):  # the second has momentum to anticipate
        for one in (ours, theirs):
            one.arch_step(train=batch(number), valid=batch(number + 1), lr=0.1)
            one.weight_step(batch(number), lr=0.1)
    moved = list(ours.supernet.parameters())
    for p, other in zip(moved, theirs.supernet.parameters()):
        torch.testing.assert_close(p, other, rtol=1e-8, atol=1e-10)
    assert sum(not torch.equal(p, q) for p, q in zip(before, moved)) > len(moved) // 2


def test_they_compute_none():
    """A state that holds NaN reaches the node behind ``none``, as a product with 0 lets it."""
    theirs = PublishedSteps(steps("first"), second=False)
    cell = theirs.supernet.cells[0]
    names = list(cell.edges[0])
    weighted = cell.mixed(cell.edges[0], cell_source(torch.full((1, 4, 4, 4), float("nan"), dtype=torch.float64)), torch.ones(len(names)))
    assert len(weighted) == len(names)
    assert weighted[names.index("none")][1].isnan().all()


def cell_source(x):
    return Reference().source(x)
