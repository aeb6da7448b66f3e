"""Expected costs beside the enumeration of every architecture, whose costs are counted one by one."""

import functools
import itertools

import pytest
import torch

from darts_core.genotype import Cell, Edge, Genotype
from darts_core.methods import METHODS
from darts_core.metrics import count_macs
from darts_core.search.costs import SIDE, CountedCosts, ExpectedCost, NamedCosts, check_costs
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.kept import Kept

PRIMITIVES = ("none", "skip_connect", "sep_conv_3x3")
CELLS = [Cell(((Edge(a, 0), Edge(b, 1)),), (2,)) for a, b in itertools.product(PRIMITIVES, PRIMITIVES)]
MS = {"skip_connect": 0.5, "sep_conv_3x3": 2.0}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    space = darts_cnn(init_channels=4, layers=3, nodes=1, primitives=PRIMITIVES)
    net = METHODS.build("darts").supernet(space, in_channels=1, num_classes=2, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for alpha in net.arch_parameters():
            alpha.normal_()
    return net


def parameters(net, normal, reduce):
    total = 0
    for cell_type, cell in zip(net.type_of_cell, net.cells):
        chosen = normal if cell_type == "normal" else reduce
        total += sum(p.numel() for _, edge in chosen.edges for p in cell.edges[edge.src][edge.op].parameters())
    return total


@functools.cache
def counted(net, *cells):
    with net.only(Genotype.of(dict(zip(("normal", "reduce"), cells)), space="darts_cnn", rule="x")):
        return count_macs(net, input_shape=(1, SIDE, SIDE))


def macs(net, normal, reduce):
    nothing = CELLS[0]  # a cell adds its own to the total, whatever the other one is
    return counted(net, normal, nothing) + counted(net, nothing, reduce) - 2 * counted(net, nothing, nothing)


def milliseconds(net, normal, reduce):
    return sum(MS.get(edge.op, 0.0) for t in net.type_of_cell for _, edge in (normal if t == "normal" else reduce).edges)


CASES = {
    "parameters": (CountedCosts("parameters"), parameters),
    "macs": (CountedCosts("macs"), macs),
    "milliseconds": (NamedCosts(MS, "method.latency_ms"), milliseconds),
}


@pytest.mark.parametrize("case", CASES)
def test_the_expectation_and_its_gradient_are_those_of_all_architectures(net, case):
    costs, truth = CASES[case]
    alphas = net.arch_parameters()
    p_normal, p_reduce = (net.arch.get(name).softmax(1) for name in ("normal", "reduce"))
    expected, dearest = 0.0, 0.0
    for (n, normal), (r, reduce) in itertools.product(enumerate(CELLS), enumerate(CELLS)):
        chance = p_normal[0, n // 3] * p_normal[1, n % 3] * p_reduce[0, r // 3] * p_reduce[1, r % 3]
        cost = truth(net, normal, reduce)
        expected, dearest = expected + chance * cost, max(dearest, cost)
    found = ExpectedCost(0.3, costs)(net, 0.0)
    assert dearest > 0
    torch.testing.assert_close(found, 0.3 * expected / dearest)
    for one, other in zip(torch.autograd.grad(found, alphas), torch.autograd.grad(0.3 * expected / dearest, alphas)):
        torch.testing.assert_close(one, other)
    absolute = ExpectedCost(0.3, costs, 10.0)(net, 0.0)
    torch.testing.assert_close(absolute, found * dearest / 10.0)


def test_the_gradient_is_that_of_a_small_step(net):
    penalty, alpha = ExpectedCost(1.0, CountedCosts("macs")), net.arch.get("reduce")
    (gradient,) = torch.autograd.grad(penalty(net, 0.0), alpha)
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            alpha[1, 2] += step
            ends.append(penalty(net, 0.0))
            alpha[1, 2] -= step
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, gradient[1, 2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["parameters", "macs"])
def test_what_a_selection_has_put_aside_still_has_its_cost(net, kind):
    whole = CountedCosts(kind)(net)
    plan = {c: Kept(operations=3, left=offer.ops).choosing(0, 1).cutting(1, 0) for c, offer in net.offers.items()}
    with net.keeping(plan):
        late = CountedCosts(kind)(net)  # as after a kill in the midst of a selection: nobody has counted before
    assert all(torch.equal(cost_EO, late[c]) for c, cost_EO in whole.items())
    assert all((cost_EO[:, 2] > 0).all() for cost_EO in late.values())


def test_what_is_penalised_loses_weight(net):
    method = METHODS.build("snas", {"resource": "parameters", "resource_scale": 2.0})
    assert method.penalties[0].scale == 2.0
    before = net.mixture()["normal"][:, 2].sum()
    grads = torch.autograd.grad(method.penalties[0](net, 0.0), net.arch_parameters())
    with torch.no_grad():
        for alpha, grad in zip(net.arch_parameters(), grads):
            alpha -= 0.1 * grad
    assert net.mixture()["normal"][:, 2].sum() < before


def test_settings_that_do_not_fit_are_refused(net):
    with pytest.raises(ValueError, match=r"method\.resource_scale has an effect with method\.resource alone.* Got 2\."):
        METHODS.build("snas", {"resource_scale": 2.0})
    with pytest.raises(ValueError, match=r"method\.latency_target_ms: only method\.latency_ms gives it an effect"):
        METHODS.build("proxyless", {"latency_target_ms": 2.0})
    method = METHODS.build("proxyless", {"latency_ms": {"skip_conect": 1.0, "sep_conv_3x3": 2.0}})
    with pytest.raises(ValueError, match=r"method\.latency_ms: .* Missing: skip_connect; unknown: skip_conect; out of range: -\."):
        method.penalties[0](net, 0.0)
    for cost, message in ((0.0, r"a number above 0 for at least one of .* Got 0 for all"), (1e308, "out of range: skip_connect")):
        told = {"skip_connect": cost, "sep_conv_3x3": 0.0}
        with pytest.raises(ValueError, match=message):
            check_costs(METHODS.build("proxyless", {"latency_ms": told}).penalties, ["none", *told])
    once, thrice = (
        METHODS.build("proxyless", {"latency_ms": MS, "latency_target_ms": 4.0, "latency_scale": scale}).penalties[0](net, 0.0).item()
        for scale in (1.0, 3.0)
    )
    assert thrice == pytest.approx(3.0 * once)
    assert once > 0.0
