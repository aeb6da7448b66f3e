"""The macro space of ENAS: its genotypes, its discrete network beside the supernet's path, and every backend beside the reference."""

import json

import pytest
import torch

from darts_core.genotype import Genotype
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.spaces import SPACES
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.choice import EXACT_TOLERANCE, self_check

TINY = {"init_channels": 4, "layers": 3}


def space(**options):
    return SPACES.build("enas_macro", {**TINY, **options})


def supernet(method="enas", **options):
    torch.manual_seed(0)
    return METHODS.build(method).supernet(space(**options), in_channels=3, num_classes=5, generator=torch.Generator().manual_seed(0))


def genotype(seed, **options):
    return space(**options).random_genotype(torch.Generator().manual_seed(seed))


def images(size=16):
    return torch.randn(4, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_layer_reads_the_one_before_it_and_is_connected_with_any_others():
    drawn = [genotype(seed, layers=6) for seed in range(40)]
    ops, skips = set(), []
    for each in drawn:
        for layer, edges in enumerate(each.cell("layers").nodes):
            *others, own = edges
            assert own.src == layer
            ops.add(own.op)
            skips += [edge.op for edge in others]
    assert ops == set(space().primitives) - {"none", "skip_connect"}
    assert set(skips) == {"none", "skip_connect"}
    assert 0.4 < skips.count("skip_connect") / len(skips) < 0.6
    assert space().num_cells() == 6**3 * 2**3
    assert Genotype.from_dict(json.loads(json.dumps(drawn[0].to_dict()))) == drawn[0]


@pytest.mark.parametrize("size", [16, 13])
@pytest.mark.parametrize("seed", range(3))
def test_the_discrete_network_is_the_supernet_s_path(seed, size):
    """With the same weights; scales and shifts of BatchNorm begin as ones and zeros."""
    shared, found = supernet(layers=6).double().train(), genotype(seed, layers=6)
    network = space(layers=6).network(found, in_channels=3, num_classes=5, init_channels=4, layers=6).double().train()
    row_of = {ends: row for row, ends in enumerate(shared.shape.sources)}
    edges = [(row_of[edge.src, dst], edge.op) for dst, edge in found.cell("layers").edges]
    weights, copied = shared.state_dict(), {}
    for name, value in network.state_dict().items():
        parts = name.split(".")
        if parts[:3] == ["cells", "0", "ops"]:
            row, op = edges[int(parts[3])]
            name = ".".join(["cells.0.edges", str(row), op, *parts[5:]])
        copied[".".join(parts)] = weights.get(name, value)
    network.load_state_dict(copied)
    with shared.only(found):
        expected = shared(images(size))
    torch.testing.assert_close(network(images(size)), expected)


def test_states_are_halved_twice_and_only_where_they_are_read_again():
    found = genotype(1, layers=6)
    network = space(layers=6).network(found, in_channels=3, num_classes=5, init_channels=4, layers=6).double()
    cell, seen = network.cells[0], []
    network.head.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    network(images())
    assert seen == [(4, 16, 4, 4)]
    for node in (2, 4):
        read = {edge.src for dst, edge in found.cell("layers").edges if edge.op != "none" and edge.src <= node < dst}
        assert set(cell.halvings[str(node)]) == set(map(str, read))
    assert sum(len(each) for each in cell.halvings.values()) < 3 + 5, "else the case says nothing"


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in ("reference", "compiled")])
@pytest.mark.parametrize("method", ["enas", "darts", "pc_darts"])
def test_every_backend_equals_the_reference(name, method):
    if name == "native" and not kernels.is_available():
        pytest.skip("no C++ compiler, so no native kernels")
    assert self_check(supernet(method), BACKENDS[name](), torch.device("cpu")) <= EXACT_TOLERANCE


def test_the_controller_decides_on_every_layer_and_connection():
    run = supernet(layers=6).relax.roll(30)
    assert len(run.decisions) == 6 * 7 // 2
    for edge in run.edges:
        offered = {2, 3, 4, 5, 6, 7} if (edge.src == edge.dst - 1).all() else {0, 1}
        assert set(edge.op.tolist()) <= offered
        assert (edge.probability_SO.detach() > 0).sum(1).tolist() == [len(offered)] * 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 4}, r"space\.layers must be a multiple of 3.* Got 4"),
        ({"layers": 0}, r"space\.(layers|nodes) must be"),
        ({"layers": 3 * 10**8}, r"space\.layers must be at most 1000\. Got 300000000\."),
        ({"primitives": ()}, r"space\.primitives must hold an operation of a layer\. Got \[\]\."),
        ({"primitives": ("fit_conv_3x3", "skip_connect")}, r"space\.primitives must be operations of a layer, not none or skip_connect"),
    ],
)
def test_what_cannot_be_built_names_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        space(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 6}, r"retrain\.layers must be 3, space\.layers, each of which has an operation\. Got 6"),
        ({"stem": "imagenet"}, r"retrain\.stem must be cifar"),
        ({"auxiliary": True}, r"retrain\.auxiliary must be false"),
    ],
)
def test_a_network_has_the_layers_that_were_searched(options, message):
    with pytest.raises(ValueError, match=message):
        space().network(genotype(0), **{"in_channels": 3, "num_classes": 5, "init_channels": 4, "layers": 3, **options})
