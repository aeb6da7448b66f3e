import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.engine.placing import check_computed
from darts_core.genotype import Cell, Edge, Genotype, GenotypeError, published
from darts_core.methods import METHODS
from darts_core.nets.dropout import Dropout
from darts_core.ops.recurrent import ACTIVATIONS
from darts_core.search.method import check_space
from darts_core.spaces import SPACES
from darts_core.supernet.backend import Eager
from darts_core.supernet.choice import choose_backend
from darts_core.supernet.recurrent import RecurrentSupernet


def test_the_papers_space_is_the_default():
    space = SPACES.build("darts_rnn")
    assert space.primitives == ("none", "tanh", "relu", "sigmoid", "identity")
    assert space.num_cells() == 40_320 * 4**8, "8! choices of predecessors times 4^8 of operations"
    assert len(space.edge_names) == 36
    assert space.edge_names[:4] == ["0-1", "0-2", "1-2", "0-3"]
    assert space.dropout == Dropout(embedding=0.0, inputs=0.2, gates=0.75, hidden=0.25, outputs=0.75)


def test_the_papers_search_has_its_size():
    with torch.device("meta"):
        supernet = METHODS.build("darts").supernet(
            SPACES.build("darts_rnn"), in_channels=10_000, num_classes=10_000, generator=torch.Generator()
        )
    assert sum(p.numel() for p in supernet.weights().values()) == 4_810_000
    assert [tuple(alpha.shape) for alpha in supernet.arch_parameters()] == [(36, 5)]


@pytest.mark.parametrize("name", ["ENAS_RNN", "DARTS_RNN_V1", "DARTS_RNN_V2"])
def test_published_cells_belong(name):
    SPACES.build("darts_rnn").check(published(name))
    with pytest.raises(GenotypeError, match=r"of the space 'darts_rnn'. space.name expects 'darts_cnn'"):
        SPACES.build("darts_cnn").check(published(name))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ((Edge("relu", 0), Edge("tanh", 0)), r"recurrent cell, node 1: one edge expected\. Got 2\."),
        ((Edge("none", 0),), r"recurrent cell, node 1: an operation beside 'none' expected\."),
        ((Edge("rely", 0),), r"unknown operation 'rely' \(did you mean 'relu'\?\)"),
    ],
)
def test_other_cells_do_not(node, message):
    genotype = Genotype(normal=Cell((node,), (1,), 1), space="darts_rnn")
    with pytest.raises(GenotypeError, match=message):
        SPACES.build("darts_rnn").check(genotype)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, r"space\.hidden must be at least 1\. Got 0\."),
        ({"bptt": 4}, r"space\.bptt must be at least 5, the least that a window's length is drawn\. Got 4\."),
        ({"nodes": 0}, r"space\.nodes must be at least 1\. Got 0\."),
        ({"dropout_gates": 1.0}, r"space\.dropout_gates must be at least 0 and below 1\. Got 1\.0\."),
        ({"slowness_penalty": -1.0}, r"space\.slowness_penalty must be at least 0\. Got -1\.0\."),
        ({"primitives": ["tanh", "skip_connect"]}, r"space\.primitives: no operation is called 'skip_connect'"),
        ({"init_channels": 16}, r"space\.init_channels: not an option of space 'darts_rnn'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        SPACES.build("darts_rnn", options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pc_darts", r"method\.channel_proportion must be 1 with space\.name: darts_rnn\. Got 4\."),
        ("darts_minus", r"method\.name: a method without auxiliary skip connections expected with space\.name: darts_rnn\."),
    ],
)
def test_a_supernet_without_a_part_says_so(name, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(name).supernet(SPACES.build("darts_rnn"), in_channels=5, num_classes=5, generator=torch.Generator())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("p_darts", {}, r"method\.name: a method of one phase expected with space\.name: darts_rnn\."),
        ("pc_darts", {}, r"method\.channel_proportion: 1 expected with space\.name: darts_rnn\."),
        ("darts_minus", {}, r"method\.name: a method without auxiliary skip connections expected"),
        ("darts_plus", {}, r"method\.name: a method that counts no skip connections expected"),
        ("robust_darts", {"drop_path_prob": 0.2}, r"method\.drop_path_prob: 0, for recurrent cells have no paths to drop, expected"),
        ("snas", {"resource": "macs"}, r"method\.resource or latency_ms: null expected"),
    ],
)
def test_methods_for_images_alone_are_refused_ahead_of_a_search(name, options, message):
    with pytest.raises(ValueError, match=message):
        check_space(METHODS.build(name, options), SPACES.build("darts_rnn"))


def test_other_methods_are_not():
    for name in ("darts", "gdas", "smooth_darts", "gaea", "random_search", "robust_darts", "snas"):
        check_space(METHODS.build(name), SPACES.build("darts_rnn"))


@pytest.mark.parametrize(
    ("key", "value", "message"), [("backend", "compiled", "auto, reference, eager or native"), ("memory", "lean", "auto or normal")]
)
def test_what_a_recurrent_search_cannot_be_computed_by_is_said_ahead_of_it(key, value, message):
    with pytest.raises(ValueError, match=rf"search\.{key} must be {message} with this space"):
        check_computed(SearchConfig(**{key: value}), RecurrentSupernet)


def test_an_activation_of_one_s_own_is_computed_by_the_reference(monkeypatch):
    monkeypatch.setattr(ACTIVATIONS, "_factories", dict(ACTIVATIONS._factories))
    ACTIVATIONS.register("halved")(lambda h: 0.5 * h)
    space = SPACES.build("darts_rnn", {"nodes": 2, "hidden": 4, "primitives": ("none", "tanh", "halved")})
    cpu = torch.device("cpu")
    supernet = METHODS.build("darts").supernet(space, in_channels=5, num_classes=5, generator=torch.Generator().manual_seed(0))
    for wanted in ("auto", "native"):
        choice = choose_backend(supernet, wanted, cpu, size=(4, 5), operations=1e13)
        assert choice.backend.name == "reference"
        assert "it has no kernel for halved" in choice.why
    window, targets = supernet.sample(3, size=(4, 5), dtype=torch.float32, device=cpu, generator=torch.Generator())
    supernet.use(Eager(), cpu)
    with pytest.raises(ValueError, match=r"search\.backend must be reference with halved: together are computed tanh, relu"):
        supernet.loss(supernet.scores(window), targets)
