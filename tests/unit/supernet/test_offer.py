"""Edges that offer different operations: their alphas, their weights, and the supernet beside one built by hand."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.methods import METHODS
from darts_core.search.penalties import BetaDecay, DirichletDivergence, ZeroOneLoss
from darts_core.search.perturb import random_point
from darts_core.search.relax import softmax
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import Reference
from darts_core.supernet.offer import Offer
from darts_core.supernet.sampled import Weights

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
UNEVEN = (("skip_connect",), ("none", "sep_conv_3x3"), PRIMITIVES, ("max_pool_3x3", "skip_connect"), ("sep_conv_3x3", "none"))
EVEN = (("none", "skip_connect"), ("max_pool_3x3", "sep_conv_3x3"), *[("skip_connect", "sep_conv_3x3")] * 3)


def space(names, **options):
    whole = darts_cnn(**{"init_channels": 4, "layers": 3, "nodes": 2, "primitives": PRIMITIVES, **options})
    return dataclasses.replace(whole, edge_primitives={"normal": names, "reduce": names[::-1]})


def build(names, method="darts", **options):
    torch.manual_seed(0)
    return METHODS.build(method, options).supernet(space(names), in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0))


def images(number=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, 3, 8, 8, generator=generator), torch.randint(4, (number,), generator=generator)


def test_edges_that_offer_equally_many_share_a_matrix_of_alphas():
    whole, even, uneven = (Offer.of("normal", PRIMITIVES, names, edges=5) for names in (None, EVEN, UNEVEN))
    assert whole.shapes == {"normal": (5, 4)}
    assert even.shapes == {"normal": (5, 2)}
    assert uneven.shapes == {"normal_1": (1, 1), "normal_2": (3, 2), "normal_4": (1, 4)}
    assert uneven.names[4] == ("none", "sep_conv_3x3"), "in the order of the primitives"
    assert (whole.active, uneven.active[1]) == (None, (0, 3))


@pytest.mark.parametrize("names", [EVEN, UNEVEN])
def test_the_weights_are_those_of_each_edge_by_itself(names):
    offer = Offer.of("normal", PRIMITIVES, names, edges=5)
    alphas = {name: torch.randn(shape) for name, shape in offer.shapes.items()}
    weights = offer.relaxed(alphas.get, softmax)
    for rows in offer.rows:
        for row, (e, own) in enumerate(zip(rows.edges, rows.ops)):
            expected = torch.zeros(4).index_put((torch.tensor(own),), alphas[rows.name][row].softmax(0))
            torch.testing.assert_close(weights.op_EO[e], expected)
            assert weights.active[e] == own
    assert torch.equal(offer.mask(torch.zeros(1)), (weights.op_EO > 0).float())
    assert weights.spent().shape == (5, max(map(len, offer.ops)))


def test_one_operation_is_drawn_of_those_that_an_edge_offers():
    offer = Offer.of("normal", PRIMITIVES, UNEVEN, edges=5)
    drawn = offer.relaxed(
        lambda name: torch.ones(offer.shapes[name]), lambda a: Weights(F.one_hot(a.argmin(1) * 0, a.shape[1]), ((0,),) * len(a))
    )
    assert drawn.active == ((2,), (0,), (0,), (1,), (0,))
    assert drawn.op_EO.sum() == 5


def test_what_is_no_operation_of_the_space_is_refused():
    with pytest.raises(ValueError, match=r"Edge 1 of the normal cell: at least one of none, .* expected, each once\. Got \['conv'\]"):
        Offer.of("normal", PRIMITIVES, (("none",), ("conv",)), edges=2)
    with pytest.raises(ValueError, match=r"The normal cell has 5 edges: the operations of as many expected\. Got those of 1\."):
        Offer.of("normal", PRIMITIVES, (("none",),), edges=5)
    with pytest.raises(ValueError, match=r"space\.edges: 0-2 of the normal cell must offer an operation beside 'none'"):
        space((("none",), *UNEVEN[1:]))


def cell_by_hand(cell, s0, s1, weights):
    """The slow truth: each edge's operations by name."""
    states, number = [cell.preprocess0(s0), cell.preprocess1(s1)], 0
    for node in range(cell.shape.nodes):
        total = 0.0
        for src in range(node + 2):
            total = total + sum(weights[number][name] * op(states[src]) for name, op in cell.edges[number].items())
            number += 1
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.parametrize("names", [EVEN, UNEVEN])
def test_a_supernet_computes_what_its_edges_offer_and_nothing_else(names):
    net, x = build(names), images()[0]
    assert [set(edge) for edge in net.cells[2].edges] == [set(own) for own in (names if net.type_of_cell[2] == "normal" else names[::-1])]
    expected = list(net.stem(x))
    for cell_type, cell in zip(net.type_of_cell, net.cells):
        rows = {
            e: (net.arch.get(r.name)[i].softmax(0), own)
            for r in net.offers[cell_type].rows
            for i, (e, own) in enumerate(zip(r.edges, r.ops))
        }
        weights = [{PRIMITIVES[o]: rows[e][0][k] for k, o in enumerate(rows[e][1])} for e in range(5)]
        expected = [expected[1], cell_by_hand(cell, *expected, weights)]
    torch.testing.assert_close(net(x), net.classifier(expected[1].mean((2, 3))))


def test_fewer_operations_are_the_whole_supernet_whose_others_weigh_nothing():
    """The loss of what is left, and its gradient, beside the same weights in a supernet that holds all operations."""
    whole, part = build((PRIMITIVES,) * 5), build(EVEN)
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if k in part.state_dict() and "arch" not in k}, strict=False)
    x, y = images()
    seen = []
    for net in (whole, part):
        point = {k: w.requires_grad_() for k, w in part.mixture().items()}
        with net.weighing(point):
            loss = F.cross_entropy(net(x), y)
        grads = torch.autograd.grad(loss, list(point.values()))
        seen.append([loss, *(g * o.mask(g) for g, o in zip(grads, part.offers.values()))])
    for one, other in zip(*seen):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", [n for n in METHODS if n != "pc_darts"])
@pytest.mark.parametrize("names", [EVEN, UNEVEN])
def test_every_method_takes_edges_that_differ(method, names):
    net, (x, y) = build(names, method), images()
    F.cross_entropy(net(x), y).backward()
    for op_EO, offer in zip(net.mixture().values(), net.offers.values()):
        assert torch.equal(op_EO > 0, offer.mask(op_EO) > 0), "0 for what is not offered, more for the rest"
    genotype = METHODS.build(method).derive(net.mixture(), primitives=net.primitives, shape=net.shape, space="darts_cnn")
    for cell_type, cell in genotype.cells.items():
        edges = dict(zip(net.shape.sources, net.offers[cell_type].names))
        assert all(edge.op in edges[edge.src, dst] for dst, edge in cell.edges)


def test_penalties_see_the_alphas_of_what_is_offered():
    net = build(UNEVEN)
    with torch.no_grad():
        for alpha in net.arch_parameters():
            alpha.zero_()
    counts = [1, 2, 4, 2, 2]
    assert ZeroOneLoss(1.0)(net, 0.0).item() == 0.0
    assert BetaDecay(1.0)(net, 1.0).item() == pytest.approx(sum(map(math.log, counts)) / 5)
    assert DirichletDivergence(1.0)(net, 0.0).item() == pytest.approx(0.0, abs=1e-6)
    moved = random_point(net.mixture(), 0.1, torch.Generator().manual_seed(0))
    for cell_type, op_EO in moved.items():
        assert torch.equal(op_EO > 0, net.offers[cell_type].mask(op_EO) > 0)
        torch.testing.assert_close(op_EO.sum(1), torch.ones(5))


def test_random_genotypes_and_their_paths_keep_to_what_is_offered():
    restricted, generator = space(UNEVEN), torch.Generator().manual_seed(0)
    net = build(UNEVEN)
    drawn = [restricted.random_genotype(generator) for _ in range(50)]
    edges = dict(zip(restricted.shape.sources, UNEVEN))
    found = {(dst, e.src, e.op) for g in drawn for dst, e in g.normal.edges}
    assert found == {(dst, src, op) for (src, dst), own in edges.items() for op in own if op != "none"}
    with net.only(drawn[0]):
        assert net(images()[0]).isfinite().all()
    assert restricted.num_cells() == (1 * 1) * (3 * 2 + 3 * 1 + 2 * 1)
    foreign = Cell(((Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1)),) * 2, (2, 3))
    with pytest.raises(ValueError, match="normal cell has sep_conv_3x3, sep_conv_3x3 on an edge that does not offer it"):
        net.path(Genotype.of({"normal": foreign, "reduce": foreign}, space="darts_cnn", rule="x"), "normal")


def test_a_state_goes_into_a_supernet_of_the_same_offer():
    one, other = build(UNEVEN), build(UNEVEN)
    assert {k for k in one.state_dict() if k.startswith("arch.")} == {f"arch.{c}_{n}" for c in ("normal", "reduce") for n in (1, 2, 4)}
    with torch.no_grad():
        one.arch.get("normal_2").add_(1.0)
    other.load_state_dict(one.state_dict())
    one.use(Reference(), torch.device("cpu"))
    assert torch.equal(one.eval()(images()[0]), other.eval()(images()[0]))
