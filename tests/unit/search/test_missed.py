"""Selection by perturbation: what it keeps beside what is worth most, in which order it tunes, and its accuracies computed again."""

import pytest
import torch

from darts_core.methods import METHODS
from darts_core.search.missed import MostMissed
from darts_core.search.select import BestOfRandom
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.spaces.nasbench201 import nasbench201

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
CNN = darts_cnn(init_channels=2, layers=3, nodes=3, primitives=PRIMITIVES)
BENCH = nasbench201(init_channels=2, layers=3)


def supernet(space, name="darts", options=()):
    torch.manual_seed(0)
    method = METHODS.build(name, dict(options))
    return method.supernet(space, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))


def select(net, space, evaluate, *, tune_epochs=0, tune=None, seed=0):
    choose = MostMissed(tune_epochs=tune_epochs)
    return choose(net, space, evaluate=evaluate, tune=tune, generator=torch.Generator().manual_seed(seed))


def worth(net, generator):
    """An accuracy to which each operation of each edge adds a part of its own, while it is left."""
    parts = {c: torch.rand(len(net.shape.sources), len(net.primitives), generator=generator, dtype=torch.float64) for c in net.cell_types}

    def evaluate():
        left = {c: [(e, o) for e, row in enumerate(k.left) if e not in k.cut for o in row] for c, k in net._kept.items()}
        return sum(float(parts[c][e, o]) for c, pairs in left.items() for e, o in pairs)

    return parts, evaluate


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("space", [CNN, BENCH], ids=lambda space: space.name)
def test_it_keeps_what_is_worth_most(space, seed):
    net = supernet(space)
    parts, evaluate = worth(net, torch.Generator().manual_seed(seed))
    genotype, score = select(net, space, evaluate, seed=seed)
    usable = [o for o, name in enumerate(space.primitives) if name != "none" or space is BENCH]
    total = 0.0
    for cell_type, cell in genotype.cells.items():
        best = {ends: max(usable, key=lambda o, e=e: parts[cell_type][e, o]) for e, ends in enumerate(space.shape.sources)}
        value = {ends: float(parts[cell_type][e, best[ends]]) for e, ends in enumerate(space.shape.sources)}
        for dst in space.shape.fan_in:
            into = [ends for ends in space.shape.sources if ends[1] == dst]
            kept = sorted(into, key=value.__getitem__)[-2:] if space is CNN else into
            found = {(edge.src, d): edge.op for d, edge in cell.edges if d == dst}
            assert found == {ends: space.primitives[best[ends]] for ends in kept}
            total += sum(value[ends] for ends in kept)
    assert score == pytest.approx(total)
    space.check(genotype)
    assert net._kept is None


def test_of_equals_the_first_is_kept():
    genotype, score = select(supernet(CNN), CNN, lambda: 1.0)
    for cell in genotype.cells.values():
        assert [[(edge.op, edge.src) for edge in edges] for edges in cell.nodes] == [[("max_pool_3x3", 0), ("max_pool_3x3", 1)]] * 3
    assert score == 1.0


def test_every_decision_but_the_last_is_tuned_as_far_as_it_is_made():
    net, seen = supernet(CNN), []
    _, evaluate = worth(net, torch.Generator().manual_seed(0))

    def tune(epoch, epochs):
        kept = net._kept["normal"]
        seen.append((epoch, epochs, len(kept.chosen), len(kept.cut), len(net._kept["reduce"].chosen)))

    select(net, CNN, evaluate, tune_epochs=2, tune=tune)
    decisions = 9 + 2  # edges, then the nodes that three and four edges lead to
    assert [row[0] for row in seen] == list(range(2 * (decisions - 1)))
    assert {row[1] for row in seen} == {2 * (decisions - 1)}
    assert [row[2] for row in seen[::2]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert [row[4] for row in seen[::2]] == [row[2] for row in seen[::2]], "in every cell type at once"
    assert [row[3] for row in seen[-4::2]] == [0, seen[-1][3]]
    assert seen[-1][3] in (1, 2), "of three edges one is cut, of four two"


def test_the_order_is_drawn_from_the_generator():
    orders = []
    for seed in (0, 0, 1):
        net = supernet(BENCH)
        first = []
        select(net, BENCH, lambda net=net, first=first: first.append(net._kept["normal"].left) or 0.0, seed=seed)
        orders.append(first)
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("name", "options"), [("darts", {}), ("pc_darts", {"channel_proportion": 2}), ("gdas", {}), ("drnas", {})])
def test_the_accuracy_without_an_operation_is_that_of_its_weight_set_to_zero(name, options):
    """The first five evaluations, on whichever edge, beside forward passes with the weights written out; drawn ones at their means."""
    net = supernet(BENCH, name, options.items()).eval()
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    outputs, missing = [], []

    def evaluate():
        missing.append([(e, o) for e, row in enumerate(net._kept["normal"].left) for o in range(5) if o not in row])
        outputs.append(net(x))
        return float(outputs[-1].sum())

    select(net, BENCH, evaluate)
    for pairs, output in list(zip(missing, outputs))[:5]:
        weights = {c: op_EO.detach().clone() for c, op_EO in net.op_weights().items()}
        assert len(pairs) == 1
        weights["normal"][pairs[0]] = 0.0
        with net.weighing(weights):
            torch.testing.assert_close(output, net(x).detach(), rtol=1e-4, atol=1e-5)
    assert len({float(output.sum()) for output in outputs[1:5]}) == 4, "but none, each is missed"


def test_a_single_operation_needs_no_accuracy():
    space = nasbench201(init_channels=2, layers=3, primitives=("skip_connect",))
    calls = []
    genotype, _ = select(supernet(space), space, lambda: calls.append(0) or 1.0)
    assert {edge.op for _, edge in genotype.normal.edges} == {"skip_connect"}
    assert len(calls) == 1, "that of the result"


def test_any_method_can_select_so():
    method = METHODS.build("fair_darts", {"selection": "perturbation", "tune_epochs": 2})
    assert method.select == MostMissed(tune_epochs=2)
    assert METHODS.build("gdas", {"selection": "perturbation"}).select == MostMissed(tune_epochs=5)
    assert METHODS.build("gdas", {"selection": "perturbation", "score_by": "loss"}).select == MostMissed(tune_epochs=5, by_loss=True)
    assert METHODS.build("darts_pt", {"score_by": "loss"}).select == MostMissed(tune_epochs=5, by_loss=True)
    assert METHODS.build("gdas").select is None
    assert METHODS.build("darts_pt", {"tune_epochs": 1, "score_batches": 2}).select == MostMissed(tune_epochs=1, batches=2)
    assert isinstance(METHODS.build("random_search").select, BestOfRandom)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("darts", {"tune_epochs": 1}, r"method\.tune_epochs has an effect with method\.selection: perturbation alone\. .* Got 1\."),
        ("darts", {"score_by": "loss"}, r"method\.score_by has an effect with method\.selection: perturbation alone\. .* Got loss\."),
        ("darts_pt", {"tune_epochs": -1}, r"method\.tune_epochs must be at least 0\. Got -1\."),
        ("darts_pt", {"score_batches": 0}, r"method\.score_batches must be at least 1\. Got 0\."),
        ("darts_pt", {"selection": "perturbation"}, r"method\.selection: leave it out, .* a selection of its own\. Got 'perturbation'"),
        ("random_search", {"selection": "perturbation"}, r"method\.selection: leave it out"),
        ("darts_pt", {"fixed_alpha": True, "warmup_epochs": 1}, r"method\.warmup_epochs: leave it out"),
    ],
)
def test_what_would_do_nothing_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(name, options)
