"""At most so many skip connections in the normal cell: beside a cell worked out by hand, and as a property of any weights."""

import pytest
import torch

from darts_core.search.derive import SkipLimited, strongest_edges
from darts_core.supernet.shape import CellShape

PRIMITIVES = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")


def derive(rule, normal, reduce=None, *, shape=None):
    op_EO = {"normal": torch.tensor(normal), "reduce": torch.tensor(normal if reduce is None else reduce)}
    return rule(op_EO, primitives=PRIMITIVES, shape=CellShape(nodes=2) if shape is None else shape, space="darts_cnn")


def edges(cell):
    return [(edge.op, edge.src, dst) for dst, edge in cell.edges]


def test_the_weakest_goes_first_to_another_operation_or_another_edge():
    weights = [[0.0, 0.5, 0.4, 0.1], [0.0, 0.9, 0.1, 0.0], [0.0, 0.6, 0.2, 0.2], [0.0, 0.8, 0.1, 0.1], [0.0, 0.0, 0.3, 0.7]]
    assert edges(derive(strongest_edges, weights).normal)[2:] == [("skip_connect", 1, 3), ("max_pool_3x3", 2, 3)]
    two = derive(SkipLimited(2), weights)
    assert edges(two.normal) == [("skip_connect", 1, 2), ("sep_conv_3x3", 0, 2), ("skip_connect", 1, 3), ("max_pool_3x3", 2, 3)]
    assert edges(two.reduce) == edges(derive(strongest_edges, weights).reduce), "the reduction cell is left alone"
    one = derive(SkipLimited(1), weights)
    assert edges(one.normal)[2:] == [("max_pool_3x3", 2, 3), ("sep_conv_3x3", 0, 3)], "0-3 follows 1-3, with a skip that goes, too"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [0, 1, 2, 4])
def test_never_more_than_the_limit_and_else_the_strongest_edges(seed, limit):
    generator = torch.Generator().manual_seed(seed)
    weights = (torch.randn(5, 4, generator=generator) + torch.tensor([1.0, 2.0, 0.0, 0.0])).softmax(1).tolist()
    found, plain = derive(SkipLimited(limit), weights), derive(strongest_edges, weights)
    before, after = ([edge for edge in edges(g.normal) if edge[0] == "skip_connect"] for g in (plain, found))
    assert len(after) <= limit
    if len(before) <= limit:
        assert found.cells == plain.cells


def test_a_skip_connection_that_nothing_can_replace_stays():
    shape = CellShape(nodes=1, inputs=1, kept_edges=None, may_be_none=True, joined_nodes=1)
    found = SkipLimited(0)({"normal": torch.tensor([[0.0, 1.0, 0.0, 0.0]])}, primitives=PRIMITIVES, shape=shape, space="nasbench201")
    assert edges(found.normal) == [("skip_connect", 0, 1)]
    assert found.rule.endswith("of which the normal cell has more, for their edges offer nothing else")
