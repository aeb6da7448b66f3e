"""A chain of layers: what its file may hold, what it becomes, and what is refused."""

import json
import re

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.genotype import Genotype, GenotypeError
from darts_core.methods import METHODS
from darts_core.search.derive import GateThreshold, strongest_edges
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES

GOOD = {
    "schema_version": 1,
    "init_channels": 4,
    "operations": ["none", "skip_connect", "conv_3x3"],
    "layers": [{"channels": 4}, {"channels": 8, "stride": 2}, {"channels": 8}],
}


def edited(**changes):
    return {**GOOD, **changes}


@pytest.fixture
def space(tmp_path):
    return build(tmp_path, GOOD)


def build(folder, data, **options):
    path = folder / "search_space.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return SPACES.build("layerwise", {"search_space": str(path), **options})


def supernet_of(space, method="darts"):
    torch.manual_seed(0)
    return METHODS.build(method).supernet(space, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))


def test_a_layer_has_the_channels_and_the_stride_of_the_file(space):
    supernet = supernet_of(space)
    seen = []
    for cell in supernet.cells:
        cell.register_forward_hook(lambda module, inputs, out: seen.append((type(module).__name__, tuple(out.shape[1:]))))
    supernet(torch.randn(2, 1, 9, 8))
    assert seen == [("SearchCell", (4, 9, 8)), ("ReluConvBn", (8, 9, 8)), ("SearchCell", (8, 5, 4)), ("SearchCell", (8, 5, 4))]
    assert {name: tuple(alpha.shape) for name, alpha in supernet.arch.items()} == {"layers": (3, 3)}


def test_each_layer_reads_its_own_row_of_alpha(space):
    """The supernet whose weights choose one operation a layer is that operation's network, layer by layer."""
    supernet = supernet_of(space).eval()
    genotype = Genotype.from_dict(space.random_genotype(torch.Generator().manual_seed(3)).to_dict())
    ops = [edge.op for _, edge in genotype.cell("layers").edges]
    x = torch.randn(2, 1, 8, 8)
    with supernet.only(genotype), torch.no_grad():
        found = supernet(x)
    (h,) = supernet.stem(x)
    chosen = iter(ops)
    for cell in supernet.cells:
        h = cell.edges[0][next(chosen)](h) if hasattr(cell, "edges") else cell(h)
    torch.testing.assert_close(found, supernet.classifier(supernet.head(h).mean((2, 3))))


def test_the_strongest_operation_is_derived_and_never_none(space):
    op_EO = torch.tensor([[0.9, 0.06, 0.04], [0.1, 0.2, 0.7], [0.1, 0.5, 0.4]])
    parts = {"primitives": space.primitives, "shape": space.shape, "space": space.name}
    for rule in (strongest_edges, GateThreshold(0.99), GateThreshold(0.6)):
        genotype = rule({"layers": op_EO}, **parts)
        space.check(genotype)
        assert [(state, edge.op, edge.src) for state, edge in genotype.cell("layers").edges] == [
            (1, "skip_connect", 0),
            (2, "conv_3x3", 1),
            (3, "skip_connect", 2),
        ]
    assert space.num_cells() == 8


def test_the_discrete_network_has_the_channels_in_proportion(space, tmp_path):
    genotype = space.random_genotype(torch.Generator().manual_seed(0))
    network = space.network(genotype, in_channels=1, num_classes=3, init_channels=2, layers=3)
    assert network.classifier.in_features == 4
    odd = build(tmp_path, edited(init_channels=4, layers=[{"channels": 6}]))
    with pytest.raises(ValueError, match=r"retrain\.init_channels: .*Expected a number at which 6 becomes a whole one\. Got 3"):
        odd.check_network(init_channels=3, layers=1, stem="cifar", auxiliary=False, drop_path_prob=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 4}, "retrain.layers must be 3, the layers of "),
        ({"stem": "imagenet"}, "retrain.stem must be cifar"),
        ({"auxiliary": True}, "retrain.auxiliary must be false"),
        ({"drop_path_prob": 0.1}, "retrain.drop_path_prob must be 0 in a chain of layers"),
    ],
)
def test_what_retraining_cannot_have(space, change, message):
    wanted = {"init_channels": 8, "layers": 3, "stem": "cifar", "auxiliary": False, "drop_path_prob": 0.0}
    space.check_network(**wanted)
    with pytest.raises(ValueError, match=re.escape(message)):
        space.check_network(**{**wanted, **change})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "search_space.json: not JSON"),
        (edited(schema_version=2), "search_space.json: schema_version 1 expected. Got 2."),
        ({"schema_version": 1, "layers": []}, "search_space.json: missing ['init_channels']."),
        (
            {"schema_version": 1, "init_channels": 4, "layer": [{"channels": 4}]},
            "search_space.json: missing ['layers']. Unknown: 'layer' (did you mean 'layers'?).",
        ),
        (edited(layer=[]), "unknown key 'layer' (did you mean 'layers'?)"),
        (edited(layers=[]), "layers must be a list with at least one layer. Got []."),
        (edited(layers=[{"channels": 0}]), "layers[0].channels: a whole number of at least 1 expected. Got 0."),
        (
            edited(layers=[{"channels": 4}, {"channels": 4, "stride": 3}]),
            "layers[1].stride: 1, or 2 to halve the resolution, expected. Got 3.",
        ),
        (edited(operations=["conv_3x4"]), "operations[0]: no operation is called 'conv_3x4' (did you mean 'conv_3x"),
        (edited(operations=["mlp", "mlp"]), "operations[1]: each operation once expected. Got 'mlp' again."),
        (edited(layers=[{"channels": 4, "operations": ["none"]}]), "layers[0].operations: an operation beside 'none' expected"),
        ({"schema_version": 1, "init_channels": 4, "layers": [{"channels": 4}]}, "layers[0]: missing ['operations']"),
    ],
)
def test_a_fault_of_the_file_is_named(tmp_path, data, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        build(tmp_path, data)
    assert str(caught.value).startswith("space.search_space: ")
    assert "search_space.json" in str(caught.value)


def test_every_layer_at_fault_is_told_at_once(tmp_path):
    layers = [{"channels": 0}, {"channels": 8}, {"channels": 8, "stride": 3}]
    with pytest.raises(ValueError, match="at least 1") as caught:
        build(tmp_path, edited(init_channels=0, layers=layers))
    assert [line.split("search_space.json: ")[1].split(":")[0] for line in str(caught.value).splitlines()] == [
        "init_channels",
        "layers[0].channels",
        "layers[2].stride",
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"space\.search_space: .*gone\.json: cannot be read .*null for the built-in search space"):
        SPACES.build("layerwise", {"search_space": str(tmp_path / "gone.json")})


def test_a_genotype_of_another_length_is_refused(space, tmp_path):
    other = build(tmp_path, edited(layers=[{"channels": 4}]))
    with pytest.raises(GenotypeError, match=r"layers cell: 3 nodes expected, as the space has them\. Got 1"):
        space.check(other.random_genotype(torch.Generator().manual_seed(0)))


def test_a_layer_may_have_operations_of_its_own(tmp_path):
    layers = [{"channels": 4}, {"channels": 4, "operations": ["mlp"]}, {"channels": 4, "operations": ["conv_3x3", "layer_norm"]}]
    space = build(tmp_path, edited(layers=layers))
    supernet = supernet_of(space)
    assert [tuple(cell.edges[0]) for cell in supernet.cells] == [("none", "skip_connect", "conv_3x3"), ("mlp",), ("conv_3x3", "layer_norm")]
    supernet(torch.randn(2, 1, 8, 8)).sum().backward()
    assert all(alpha.grad is not None for alpha in supernet.arch_parameters())
    assert space.num_cells() == 2 * 1 * 2
    with pytest.raises(
        ValueError, match=r"space\.primitives leaves the edge 1-2 of the layers cell nothing to choose: at least one of mlp"
    ):
        build(tmp_path, edited(layers=layers), primitives=["conv_3x3"])
    fewer = build(tmp_path, edited(layers=layers), edges={"2-3": ["layer_norm"]})
    assert fewer.random_genotype(torch.Generator().manual_seed(0)).cell("layers").nodes[2][0].op == "layer_norm"


def test_numbers_are_drawn_anew_for_each_weight_step_and_restored_with_the_weights(tmp_path):
    space = build(tmp_path, edited(operations=["dropout", "noise"]))
    supernet, x, y = supernet_of(space), torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    steps = Bilevel(supernet, METHODS.build("darts"), SearchConfig())
    first = supernet(x)
    steps.arch_step(train=(x, y), valid=(x, y), lr=0.1)
    before = [own.draws for own in steps.drawn]
    steps.weight_step((x, y), lr=0.1)
    assert len(before) == 6
    assert [own.draws for own in steps.drawn] == [draws + 1 for draws in before]
    after = supernet(x)
    assert not torch.equal(after, first)
    other = supernet_of(space)
    other.load_state_dict(supernet.state_dict())
    assert torch.equal(other.train()(x), after)
