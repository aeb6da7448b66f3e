"""Partial channels beside the published order of things: every edge cut, joined and shuffled by itself."""

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.nets.skeleton import CellPlan
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import Reference
from darts_core.supernet.cell import SearchCell
from darts_core.supernet.mixed import dense
from darts_core.supernet.partial import PartialState, shuffled

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def published_shuffle(x, groups):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(batch, channels, height, width)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (12, 2), (6, 6), (4, 1)])
def test_channels_are_shuffled_as_published_in_the_layout_that_they_came_in(layout, channels, groups):
    x = torch.randn(2, channels, 3, 5).to(memory_format=layout)
    out = shuffled(x, groups)
    assert torch.equal(out, published_shuffle(x.contiguous(), groups))
    assert out.is_contiguous(memory_format=layout)


def test_a_state_is_cut_and_halved():
    x = torch.randn(2, 8, 5, 4)
    state = PartialState(x, Reference(), 4)
    assert torch.equal(state.active.x, x[:, :2])
    assert torch.equal(state.rest(stride=1), x[:, 2:])
    assert torch.equal(state.rest(stride=2)[:, :, :2], F.max_pool2d(x[:, 2:, :4], 2))
    assert state.rest(stride=2).shape == (2, 6, 3, 2), "an odd side is rounded up, as the candidates do"


def edge_by_edge(cell, s0, s1, weight_EO, edge_E, proportion):
    """The slow truth: each edge on its own, whole."""
    states, number = [cell.preprocess0(s0), cell.preprocess1(s1)], 0
    for node in range(cell.nodes):
        total = 0.0
        for src in range(node + 2):
            x = states[src]
            width = x.shape[1] // proportion
            mixed = sum(w * op(x[:, :width]) for w, op in zip(weight_EO[number], cell.edges[number].values()))
            rest = F.max_pool2d(x[:, width:], 2, 2) if cell.is_reduction and src < 2 else x[:, width:]
            total = total + edge_E[number] * published_shuffle(torch.cat([mixed, rest], dim=1), proportion)
            number += 1
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.parametrize("is_reduction", [False, True])
@pytest.mark.parametrize("proportion", [2, 4])
def test_a_cell_is_the_sum_of_its_edges(is_reduction, proportion):
    torch.manual_seed(0)
    plan = CellPlan(channels_in=(3, 5), channels=8, is_reduction=is_reduction, follows_reduction=False)
    cell = SearchCell(PRIMITIVES, 2, plan, mixed=dense, channel_proportion=proportion).double()
    s0, s1 = torch.randn(3, 3, 6, 6, dtype=torch.float64), torch.randn(3, 5, 6, 6, dtype=torch.float64)
    weight_EO, edge_E = (torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 4), (5,)))
    found = cell(s0, s1, weight_EO, edge_E, backend=Reference(), is_last=True)
    expected = edge_by_edge(cell, s0, s1, weight_EO, edge_E, proportion)
    torch.testing.assert_close(found, expected)
    for one, other in zip(*(torch.autograd.grad(out.square().sum(), (weight_EO, edge_E)) for out in (found, expected))):
        torch.testing.assert_close(one, other)


def test_without_edge_weights_every_edge_counts_once():
    torch.manual_seed(0)
    plan = CellPlan(channels_in=(3, 5), channels=4, is_reduction=False, follows_reduction=False)
    cell = SearchCell(PRIMITIVES, 2, plan, mixed=dense, channel_proportion=2)
    inputs = torch.randn(3, 3, 6, 6), torch.randn(3, 5, 6, 6), torch.rand(5, 4)
    found, expected = (cell(*inputs, edge_E, backend=Reference(), is_last=True) for edge_E in (None, torch.ones(5)))
    torch.testing.assert_close(found, expected)


def test_the_published_supernet_has_its_parameters():
    """C=16, 8 cells, one channel in four: 299,578 weights, and two times 14 betas beside the alphas."""
    method = METHODS.build("pc_darts")
    with torch.device("meta"):
        supernet = method.supernet(darts_cnn(), in_channels=3, num_classes=10, generator=torch.Generator())
    assert sum(p.numel() for p in supernet.weights().values()) == 299_578
    assert sorted(tuple(p.shape) for p in supernet.arch_parameters()) == [(14,), (14,), (14, 8), (14, 8)]


def test_channels_that_cannot_be_cut_are_refused():
    with pytest.raises(ValueError, match=r"space\.init_channels must be a multiple of method\.channel_proportion, 4\. Got 6\."):
        METHODS.build("pc_darts").supernet(darts_cnn(init_channels=6), in_channels=3, num_classes=10, generator=torch.Generator())
