import itertools

import pytest
import torch

from darts_core.genotype import Genotype
from darts_core.search.derive import strongest_edges

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def derive(weights, *, primitives=PRIMITIVES, nodes=2):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    return strongest_edges({"normal": weights, "reduce": weights}, primitives=primitives, nodes=nodes, space="darts_cnn")


def edges(genotype):
    return [[(edge.op, edge.src) for edge in node] for node in genotype.normal.nodes]


def brute_force(weights, primitives, nodes):
    """Every choice of two edges and their operations, the best by the sorted weights; the slow truth where nothing ties."""
    start, chosen = 0, []
    for node in range(nodes):
        rows = weights[start : start + node + 2]
        start += node + 2
        options = [
            sorted(((rows[s][o], primitives[o], s) for s, o in zip(pair, ops)), reverse=True)
            for pair in itertools.combinations(range(node + 2), 2)
            for ops in itertools.product([o for o, name in enumerate(primitives) if name != "none"], repeat=2)
        ]
        best = max(options, key=lambda option: [weight for weight, _, _ in option])
        chosen.append([(op, src) for _, op, src in best])
    return chosen


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_best_of_all_choices(seed):
    weights = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    assert edges(derive(weights, nodes=3)) == brute_force(weights.tolist(), PRIMITIVES, 3)


def test_the_stronger_edge_comes_first():
    weights = [[0.1, 0.5, 0.2, 0.2], [0.1, 0.0, 0.3, 0.6], [0.1, 0.3, 0.3, 0.3], [0.0, 0.4, 0.3, 0.3], [0.0, 0.0, 1.0, 0.0]]
    assert edges(derive(weights)) == [[("sep_conv_3x3", 1), ("max_pool_3x3", 0)], [("skip_connect", 2), ("max_pool_3x3", 1)]]


def test_ties_go_to_the_earlier_source_and_the_earlier_primitive():
    assert edges(derive(torch.full((5, 4), 0.25))) == [[("max_pool_3x3", 0), ("max_pool_3x3", 1)]] * 2
    tie_of_edges = [[0.0, 0.2, 0.6, 0.2]] * 2 + [[0.1, 0.0, 0.9, 0.0], [0.0, 0.0, 0.0, 1.0], [0.1, 0.9, 0.0, 0.0]]
    assert edges(derive(tie_of_edges)) == [[("skip_connect", 0), ("skip_connect", 1)], [("sep_conv_3x3", 1), ("skip_connect", 0)]]


def test_none_never_counts_however_strong():
    dominated = torch.tensor([[0.97, 0.01, 0.02, 0.0]] * 5)
    assert edges(derive(dominated)) == [[("skip_connect", 0), ("skip_connect", 1)]] * 2


def test_the_share_of_none_decides_between_edges():
    """Edge 0 is surer of its operation, but most of its weight is none's."""
    weights = [[0.7, 0.0, 0.3, 0.0], [0.0, 0.3, 0.3, 0.4], [0.9, 0.0, 0.1, 0.0], [0.0, 0.35, 0.3, 0.35], [0.6, 0.0, 0.0, 0.4]]
    assert edges(derive(weights)) == [[("sep_conv_3x3", 1), ("skip_connect", 0)], [("sep_conv_3x3", 2), ("max_pool_3x3", 1)]]


def test_skips_alone_give_a_cell_of_skips():
    weights = torch.zeros(14, 4)
    weights[:, 2] = 1.0
    assert {edge.op for _, edge in derive(weights, nodes=4).normal.edges} == {"skip_connect"}


def test_permuted_primitives_give_the_same_genotype():
    weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    expected = derive(weights)
    for order in itertools.permutations(range(4)):
        assert derive(weights[:, list(order)], primitives=[PRIMITIVES[o] for o in order]) == expected


def test_both_cells_the_space_and_the_rule_are_recorded():
    one, other = (torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).softmax(-1) for seed in (0, 1))
    genotype = strongest_edges({"normal": one, "reduce": other}, primitives=PRIMITIVES, nodes=2, space="darts_cnn")
    assert (genotype.normal, genotype.reduce) == (derive(one).normal, derive(other).reduce)
    assert genotype.normal != genotype.reduce
    assert (genotype.space, genotype.rule, genotype.normal.concat) == ("darts_cnn", "strongest_edges", (2, 3))
    assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_none_alone_cannot_be_derived():
    with pytest.raises(ValueError, match=r"space\.primitives must hold an operation beside 'none'"):
        derive(torch.ones(5, 1), primitives=["none"])


def test_weights_of_edges_decide_between_edges():
    """Both cells have the same operations' weights; the edge that they disfavour wins by its own weight in one of them."""
    weights = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.6, 0.2], [0.2, 0.3, 0.3, 0.2], [0.1, 0.1, 0.1, 0.7], [0.1, 0.5, 0.2, 0.2]])
    edge_E = {"normal": torch.full((5,), 0.5), "reduce": torch.tensor([0.5, 0.5, 0.8, 0.1, 0.1])}
    op_EO = {"normal": weights, "reduce": weights}
    genotype = strongest_edges(op_EO, primitives=PRIMITIVES, nodes=2, space="darts_cnn", edge_E=edge_E)
    assert genotype.normal == derive(weights).normal
    assert [edge.src for edge in genotype.normal.nodes[1]] == [1, 2]
    assert [edge.src for edge in genotype.reduce.nodes[1]] == [0, 1]
