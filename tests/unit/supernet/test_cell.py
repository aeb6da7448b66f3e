import pytest
import torch
from torch import nn

from darts_core.nets.skeleton import CellPlan
from darts_core.supernet.backend import Reference
from darts_core.supernet.cell import SearchCell, candidate
from darts_core.supernet.mixed import dense
from darts_core.supernet.shape import CellShape
from darts_core.supernet.source import PlainSource, plain_total

PLAN = {"channels_in": (3, 5), "channels": 4, "is_reduction": False, "follows_reduction": False}
PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def test_edges_are_listed_node_by_node():
    assert CellShape(nodes=2).sources == [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    assert len(CellShape(nodes=4).sources) == 14
    assert CellShape(nodes=3, inputs=1).sources == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def test_the_output_joins_all_nodes_or_the_last_ones():
    assert CellShape(nodes=3).concat == (2, 3, 4)
    assert CellShape(nodes=3, inputs=1, joined_nodes=1).concat == (3,)


@pytest.mark.parametrize("name", ["max_pool_3x3", "avg_pool_3x3"])
def test_pools_are_normalised(name):
    x = 5.0 + 3.0 * torch.randn(8, 4, 6, 6)
    out = candidate(name, 4, stride=1)(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0.0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_no_candidate_has_an_affine_batch_norm(name, stride):
    norms = [module for module in candidate(name, 4, stride=stride).modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.affine for norm in norms)


class TestDense:
    def edge(self):
        torch.manual_seed(0)
        return nn.ModuleDict({name: candidate(name, 4, stride=1) for name in PRIMITIVES})

    @staticmethod
    def mixture(edge, x, weight_O):
        return plain_total(dense(edge, PlainSource(x), weight_O))

    def test_is_the_weighted_sum_of_all(self):
        edge, x, weight_O = self.edge(), torch.randn(4, 4, 5, 5), torch.tensor([0.1, 0.2, 0.3, 0.4])
        expected = sum(weight * op(x) for weight, op in zip(weight_O, edge.values()))
        torch.testing.assert_close(self.mixture(edge, x, weight_O), expected)

    def test_none_is_zero_but_takes_its_share(self):
        """Its weight is no factor of the sum; yet it is one of the softmax, and so has a gradient there."""
        edge, x = self.edge(), torch.randn(4, 4, 5, 5)
        alpha = torch.zeros(4, requires_grad=True)
        self.mixture(edge, x, alpha.softmax(0)).pow(2).sum().backward()
        assert alpha.grad[0] < 0.0, "more of none, less of everything"
        assert self.mixture(edge, x, torch.tensor([1.0, 0.0, 0.0, 0.0])).abs().max() == 0.0

    def test_an_edge_of_none_alone_is_zero(self):
        edge = nn.ModuleDict({"none": candidate("none", 4, stride=2)})
        assert torch.equal(self.mixture(edge, torch.randn(2, 4, 5, 5), torch.ones(1)), torch.zeros(2, 4, 3, 3))


def run(cell, s0, s1, weight_EO):
    return cell((s0, s1), weight_EO, backend=Reference(), is_last=True)


def build(nodes=2, **plan):
    torch.manual_seed(0)
    return SearchCell(PRIMITIVES, CellShape(nodes=nodes), CellPlan(**{**PLAN, **plan}), mixed=dense)


def test_a_cell_with_one_operation_an_edge_is_the_discrete_cell():
    """Weights of 0 and 1: node 2 reads both inputs, node 3 reads input 1 and node 2."""
    cell = build()
    s0, s1 = torch.randn(3, 3, 6, 6), torch.randn(3, 5, 6, 6)
    op_of_edge = ["skip_connect", "max_pool_3x3", "none", "skip_connect", "sep_conv_3x3"]
    weight_EO = torch.tensor([[float(op == name) for name in PRIMITIVES] for op in op_of_edge])
    in0, in1 = cell.preprocess0(s0), cell.preprocess1(s1)
    node2 = in0 + cell.edges[1]["max_pool_3x3"](in1)
    node3 = in1 + cell.edges[4]["sep_conv_3x3"](node2)
    torch.testing.assert_close(run(cell, s0, s1, weight_EO), torch.cat([node2, node3], dim=1))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (1, 1)])
def test_a_reduction_halves_and_rounds_up(size):
    cell = build(is_reduction=True, nodes=3)
    out = run(cell, torch.randn(4, 3, *size), torch.randn(4, 5, *size), torch.full((9, 4), 0.25))
    assert out.shape == (4, 12, (size[0] + 1) // 2, (size[1] + 1) // 2)


def test_after_a_reduction_the_older_input_is_halved():
    cell = build(follows_reduction=True)
    assert run(cell, torch.randn(4, 3, 9, 8), torch.randn(4, 5, 5, 4), torch.full((5, 4), 0.25)).shape == (4, 8, 5, 4)
