import itertools

import pytest
import torch

from darts_core.genotype import Cell, Edge, Genotype, GenotypeError, published
from darts_core.search.relax import softmax
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES, darts_cnn
from darts_core.supernet.mixed import dense


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_papers_space_is_the_default():
    space = SPACES.build("darts_cnn")
    assert (space.primitives, space.shape.nodes, space.init_channels, space.layers, space.stem) == (DARTS_PRIMITIVES, 4, 16, 8, "cifar")
    assert space.num_cells() == 1_037_664_180, "180 choices of sources times 7^8 of operations"
    assert len(space.edge_names) == 14
    assert space.edge_names[:5] == ["0-2", "1-2", "0-3", "1-3", "2-3"]


def test_counting_by_listing():
    space = darts_cnn(nodes=2, primitives=("none", "skip_connect", "max_pool_3x3"))
    ops = ("skip_connect", "max_pool_3x3")
    choices = [
        len(list(itertools.product(itertools.combinations(range(node + 2), 2), itertools.product(ops, repeat=2)))) for node in range(2)
    ]
    assert space.num_cells() == choices[0] * choices[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"primitives": ("none", "sep_conv_3")},
            r"space.primitives: no operation is called 'sep_conv_3' \(did you mean 'sep_conv_3x3'\?\)",
        ),
        ({"primitives": ("none",)}, "space.primitives must hold an operation beside 'none'"),
        ({"primitives": ()}, "space.primitives must hold an operation beside 'none'"),
        ({"primitives": ("skip_connect", "skip_connect")}, "space.primitives names an operation twice"),
        ({"nodes": 0}, "space.nodes must be at least 1. Got 0"),
        ({"nodes": 10**9}, r"space.nodes must be at most 100: edges grow with its square\. Got 1000000000\."),
        ({"layers": 10**9}, r"space.layers must be at most 1000\. Got 1000000000\."),
        ({"init_channels": 0}, "space.init_channels must be at least 1. Got 0"),
        ({"layers": 2}, "space.layers must be at least 3"),
    ],
)
def test_what_cannot_be_searched_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        darts_cnn(**options)


def test_supernet_and_network_take_the_sizes_of_the_space():
    space = darts_cnn(init_channels=2, layers=4, nodes=3, primitives=("skip_connect", "sep_conv_3x3"), stem="imagenet")
    supernet = space.supernet(in_channels=1, num_classes=3, relax=softmax, mixed=dense, generator=stream())
    assert supernet(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert [tuple(alpha.shape) for alpha in supernet.arch_parameters()] == [(9, 2), (9, 2)]
    assert len(supernet.cells) == 4
    network = space.network(space.random_genotype(stream()), in_channels=1, num_classes=3, init_channels=2, layers=3)
    assert network.eval()(torch.randn(2, 1, 8, 8)).shape == (2, 3)


class TestRandomGenotypes:
    def test_the_generator_decides(self):
        space = darts_cnn()
        assert space.random_genotype(stream(1)) == space.random_genotype(stream(1))
        assert len({space.random_genotype(stream(seed)) for seed in range(20)}) == 20

    def test_two_distinct_sources_a_node_and_no_none(self):
        space = darts_cnn()
        generator = stream()
        for _ in range(50):
            genotype = space.random_genotype(generator)
            assert Genotype.from_dict(genotype.to_dict()) == genotype
            for drawn in (genotype.normal, genotype.reduce):
                assert drawn.concat == (2, 3, 4, 5)
                for edges in drawn.nodes:
                    assert edges[0].src < edges[1].src
                assert all(edge.op in DARTS_PRIMITIVES[1:] for _, edge in drawn.edges)

    def test_sources_and_operations_are_uniform(self):
        space = darts_cnn(nodes=2, primitives=("none", "skip_connect", "max_pool_3x3"))
        generator = stream()
        cells = [space.random_genotype(generator).normal for _ in range(1200)]
        pairs = [tuple(edge.src for edge in cell.nodes[1]) for cell in cells]
        for pair in ((0, 1), (0, 2), (1, 2)):
            assert abs(pairs.count(pair) - 400) < 4 * (1200 * 2 / 9) ** 0.5
        skips = sum(edge.op == "skip_connect" for cell in cells for _, edge in cell.edges)
        assert abs(skips - 2400) < 4 * (4800 / 4) ** 0.5


class TestCheck:
    def test_published_cells_belong(self):
        darts_cnn(primitives=("skip_connect", "sep_conv_3x3")).check(published("DARTS_V2"))

    def test_another_space(self):
        with pytest.raises(GenotypeError, match=r"of the space 'nasbench201'. space.name expects 'darts_cnn'"):
            darts_cnn().check(Genotype(normal=published("DARTS_V1").normal, reduce=published("DARTS_V1").reduce, space="nasbench201"))

    def test_an_unknown_operation_is_located(self):
        bad = Cell(((Edge("skip_connect", 0), Edge("sep_conv_3x4", 1)),), (2,))
        genotype = Genotype(normal=published("DARTS_V1").normal, reduce=bad)
        with pytest.raises(GenotypeError, match=r"reduce cell, node 2: unknown operation 'sep_conv_3x4' \(did you mean 'sep_conv_3x3'"):
            darts_cnn().network(genotype, in_channels=3, num_classes=2, init_channels=2, layers=3)
