"""FairDARTS's derivation: at most two edges a node, of gates that reached the threshold."""

import pytest
import torch

from darts_core.genotype import Genotype
from darts_core.methods import METHODS
from darts_core.search.derive import GateThreshold, strongest_edges
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.spaces.nasbench201 import nasbench201
from darts_core.supernet.shape import CellShape

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def derive(gates, *, threshold=0.85, nodes=2, edge_E=None):
    weights = torch.as_tensor(gates, dtype=torch.float64)
    edges = None if edge_E is None else {"normal": torch.tensor(edge_E), "reduce": torch.tensor(edge_E)}
    options = {"primitives": PRIMITIVES, "shape": CellShape(nodes=nodes), "space": "darts_cnn", "edge_E": edges}
    genotype = GateThreshold(threshold)({"normal": weights, "reduce": weights}, **options)
    darts_cnn().check(genotype)
    network = darts_cnn().network(genotype, in_channels=1, num_classes=3, init_channels=2, layers=3).eval()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert Genotype.from_dict(genotype.to_dict()) == genotype
    return genotype


def edges(genotype):
    return [[(edge.op, edge.src) for edge in node] for node in genotype.normal.nodes]


def test_what_is_below_the_threshold_is_left_out():
    genotype = derive([[0.0, 0.9, 0.1, 0.1], [0.99, 0.1, 0.2, 0.84], [0.0, 0.0, 0.95, 0.9], [0.0, 0.0, 0.0, 0.86], [0.0, 0.2, 0.97, 0.1]])
    assert edges(genotype) == [[("max_pool_3x3", 0)], [("skip_connect", 2), ("skip_connect", 0)]]
    assert genotype.normal.concat == (2, 3)
    assert genotype.rule == "gates of at least 0.85"


def test_a_node_without_edges_disappears_and_so_does_what_reads_it():
    """Node 3 keeps the state that node 2 would have been; the strong gate on the missing node counts for nothing."""
    genotype = derive([[0.0, 0.5, 0.5, 0.5], [0.0] * 4, [0.0, 0.9, 0.0, 0.0], [0.0] * 4, [0.0, 0.0, 0.0, 0.99]])
    assert edges(genotype) == [[("max_pool_3x3", 0)]]
    assert genotype.normal.concat == (2,)
    three = [[0.0] * 4] * 2 + [[0.0, 0.9, 0.0, 0.0]] + [[0.0] * 4] * 2 + [[0.0] * 4] * 2 + [[0.0, 0.0, 0.0, 0.99], [0.0, 0.0, 0.95, 0.0]]
    assert edges(derive(three, nodes=3)) == [[("max_pool_3x3", 0)], [("skip_connect", 2)]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.85])
def test_every_edge_is_one_of_darts_own_and_reached_the_threshold(seed, threshold):
    gates = torch.rand(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    genotype = derive(gates, threshold=threshold, nodes=3)
    assert "none" not in {edge.op for _, edge in genotype.normal.edges}
    assert all(1 <= len(node) <= 2 for node in genotype.normal.nodes)
    if len(genotype.normal.nodes) == 3:
        darts = strongest_edges({"normal": gates, "reduce": gates}, primitives=PRIMITIVES, shape=CellShape(nodes=3), space="darts_cnn")
        start = 0
        for state, (node, own) in enumerate(zip(genotype.normal.nodes, darts.normal.nodes), start=2):
            reached = [edge for edge in own if float(gates[start + edge.src][PRIMITIVES.index(edge.op)]) >= threshold]
            assert list(node) == reached
            start += state


def test_without_any_gate_it_is_darts_rule_and_says_so():
    gates = torch.full((5, 4), 0.5, dtype=torch.float64)
    genotype = derive(gates)
    assert (
        genotype.normal
        == strongest_edges({"normal": gates, "reduce": gates}, primitives=PRIMITIVES, shape=CellShape(nodes=2), space="").normal
    )
    assert genotype.rule == (
        "gates of at least 0.85; the normal cell has no such gate and is that of strongest_edges; "
        "the reduce cell has no such gate and is that of strongest_edges"
    )


def test_weights_of_edges_rank_and_do_not_count_against_the_threshold():
    gates = [[0.0, 0.9, 0.0, 0.0]] * 2 + [[0.0, 0.9, 0.0, 0.0], [0.0, 0.88, 0.0, 0.0], [0.0, 0.87, 0.0, 0.0]]
    assert edges(derive(gates, edge_E=[0.5, 0.5, 0.1, 0.4, 0.5]))[1] == [("max_pool_3x3", 2), ("max_pool_3x3", 1)]


def test_the_method_starts_with_open_minds_and_derives_by_its_threshold():
    method = METHODS.build("fair_darts", {"gate_threshold": 0.7})
    supernet = method.supernet(darts_cnn(init_channels=2, layers=3, nodes=1), in_channels=1, num_classes=2, generator=torch.Generator())
    assert all(torch.equal(op_EO, torch.full_like(op_EO, 0.5)) for op_EO in supernet.mixture().values())
    assert method.derive == GateThreshold(0.7)


def test_where_every_edge_is_kept_one_below_the_threshold_is_none():
    space = nasbench201()
    gates = torch.full((6, 5), 0.1)
    gates[:, 0] = 0.99  # of none, which lets nothing through anyway
    gates[0, 3], gates[4, 1] = 0.9, 0.95
    options = {"primitives": space.primitives, "shape": space.shape, "space": space.name}
    genotype = GateThreshold(0.85)({"normal": gates}, **options)
    space.check(genotype)
    assert space.spell(genotype) == "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    gates[0, 3] = gates[4, 1] = 0.5
    assert GateThreshold(0.85)({"normal": gates}, **options).normal == strongest_edges({"normal": gates}, **options).normal
