"""NAS-Bench-201: its strings, its sizes as published, its supernet and its networks."""

import csv
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from darts_core.genotype import Cell, Edge, Genotype, GenotypeError, published
from darts_core.metrics import count_macs, count_parameters
from darts_core.search.relax import softmax
from darts_core.spaces import SPACES
from darts_core.spaces.nasbench201 import NASBENCH201_PRIMITIVES, from_string, nasbench201, to_string
from darts_core.supernet.mixed import dense

SPACE = nasbench201()
SMALL = {"in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 3}
TABLE = Path(__file__).parents[4] / "shared" / "data" / "nasbench201_cifar10_12epochs.csv"
MIXED = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def filled(op):
    """The string of an architecture with one operation on all edges."""
    return f"|{op}~0|+|{op}~0|{op}~1|+|{op}~0|{op}~1|{op}~2|"


def build(text, **sizes):
    torch.manual_seed(0)
    return SPACE.network(from_string(text), **{**SMALL, **sizes})


class TestString:
    def test_groups_are_nodes(self):
        genotype = from_string(MIXED)
        assert genotype.normal.nodes[1] == (Edge("none", 0), Edge("skip_connect", 1))
        assert (genotype.normal.concat, genotype.normal.inputs, genotype.reduce) == ((3,), 1, None)
        assert to_string(genotype) == MIXED
        SPACE.check(genotype)

    def test_random_genotypes_go_round(self):
        generator = torch.Generator().manual_seed(0)
        drawn = [SPACE.random_genotype(generator) for _ in range(300)]
        for genotype in drawn:
            assert from_string(to_string(genotype), rule="random") == genotype
            assert Genotype.from_dict(genotype.to_dict()) == genotype
        ops = [edge.op for genotype in drawn for _, edge in genotype.normal.edges]
        assert all(abs(ops.count(op) - 360) < 4 * (1800 * 4 / 25) ** 0.5 for op in NASBENCH201_PRIMITIVES)

    def test_every_architecture_of_the_table_goes_round(self):
        if not TABLE.exists():
            pytest.skip(f"{TABLE} is not there")
        with TABLE.open(newline="") as file:
            strings = [row["arch"] for row in csv.DictReader(file)]
        assert len(set(strings)) == SPACE.num_cells() == 15_625
        for text in strings:
            genotype = from_string(text)
            SPACE.check(genotype)
            assert to_string(genotype) == text

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "group 1: '|operation~source|operation~source|...' expected. Got ''."),
            ("nor_conv_3x3~0", "group 1: '|operation~source|operation~source|...' expected. Got 'nor_conv_3x3~0'."),
            ("|none~0|+|none~0|", "group 2: the sources [0, 1] expected, in this order. Got [0]."),
            ("|none~0|+|none~1|none~0|", "group 2: the sources [0, 1] expected, in this order. Got [1, 0]."),
            ("|none~0|+|none~0|none~1", "group 2: '|operation~source|"),
        ],
    )
    def test_a_malformed_one_is_located(self, text, message):
        with pytest.raises(GenotypeError, match=re.escape(message)):
            from_string(text)

    def test_of_another_space_there_is_none(self):
        with pytest.raises(GenotypeError, match=r"Only a genotype of the space 'nasbench201' .* Got one of 'darts_cnn'"):
            to_string(published("DARTS_V2"))


class TestCheck:
    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            (Cell(((Edge("none", 0), Edge("none", 1)),), (2,)), "normal cell: 1 inputs expected in the space 'nasbench201'. Got 2."),
            (Cell(((Edge("none", 0),), (Edge("none", 1),)), (2,), 1), "node 2: an edge from each of [0, 1] expected. Got [1]."),
            (
                Cell(((Edge("none", 0),), (Edge("none", 0), Edge("none", 1))), (1,), 1),
                "its last 1 of the states up to 2 expected. Got [1].",
            ),
        ],
    )
    def test_a_cell_that_does_not_fit(self, cell, message):
        with pytest.raises(GenotypeError, match=re.escape(message)):
            SPACE.check(Genotype(normal=cell, space="nasbench201"))

    def test_cells_of_another_space(self):
        both = published("DARTS_V2")
        with pytest.raises(GenotypeError, match=r"has the cells normal\. Got normal, reduce"):
            SPACE.check(Genotype(normal=both.normal, reduce=both.reduce, space="nasbench201"))
        with pytest.raises(GenotypeError, match=r"has the cells normal, reduce\. Got normal"):
            SPACES.build("darts_cnn").check(Genotype(normal=both.normal))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"layers": 8}, r"space\.layers must be a multiple of 3, .* Got 8"),
            ({"layers": 0}, r"space\.layers must be a multiple of 3, .* Got 0"),
            ({"nodes": 1}, r"space\.nodes must be at least 2, .* Got 1"),
            ({"init_channels": 0}, r"space\.init_channels must be at least 1"),
        ],
    )
    def test_what_cannot_be_searched_is_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            nasbench201(**options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"layers": 4}, r"retrain\.layers"), ({"stem": "imagenet"}, r"retrain\.stem"), ({"auxiliary": True}, r"retrain\.auxiliary")],
    )
    def test_what_cannot_be_retrained_is_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            build(MIXED, **options)


class TestNetwork:
    @pytest.mark.parametrize(
        ("text", "params", "macs"),
        [
            (filled("none"), 73_306, 7_783_040),
            (filled("nor_conv_3x3"), 1_531_546, 220_119_680),
            (filled("avg_pool_3x3"), 73_306, 7_783_040),
        ],
    )
    def test_the_published_sizes(self, text, params, macs):
        """0.073306 M to 1.531546 M parameters, 7.78 M to 220.12 M MACs: the smallest and the largest of the benchmark."""
        network = build(text, init_channels=16, layers=15)
        assert count_parameters(network) == params
        assert count_macs(network, input_shape=(3, 32, 32)) == macs

    def test_it_is_what_the_paper_draws(self):
        """One cell a stage, written out."""
        network = build(MIXED).eval()
        x = network.stem.bn(network.stem.conv(torch.randn(2, 3, 8, 8)))
        seen = []
        network.cells[0].register_forward_hook(lambda module, inputs, out: seen.append((inputs[0], out)))
        conv3, pool, conv1, last = (network.cells[0].ops[k] for k in (0, 3, 4, 5))
        node1 = conv3["nor_conv_3x3"](x)
        node2 = node1
        expected = pool["avg_pool_3x3"](x) + conv1["nor_conv_1x1"](node1) + last["nor_conv_3x3"](node2)
        torch.testing.assert_close(network.cells[0](x), expected)
        block = network.cells[1]
        bn, relu = block.conv_a.bn, nn.functional.relu
        a = bn(nn.functional.conv2d(relu(x), block.conv_a.conv.weight, stride=2, padding=1))
        b = block.conv_b.bn(nn.functional.conv2d(relu(a), block.conv_b.conv.weight, padding=1))
        pooled = nn.functional.avg_pool2d(x, 2)
        torch.testing.assert_close(block(x), b + nn.functional.conv2d(pooled, block.shortcut.weight))

    @pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11), (33, 31)], ids=lambda size: "x".join(map(str, size)))
    @pytest.mark.parametrize("text", [MIXED, filled("none"), filled("skip_connect")], ids=["mixed", "none", "skips"])
    def test_any_image_and_any_architecture(self, text, size):
        network = build(text)
        out = network(torch.randn(2, 3, *size))
        assert out.shape == (2, 10)
        out.logsumexp(1).sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


class TestSupernet:
    def build(self, **options):
        torch.manual_seed(0)
        space = nasbench201(**{"init_channels": 4, "layers": 6, **options})
        generator = torch.Generator().manual_seed(0)
        return space.supernet(in_channels=3, num_classes=10, relax=softmax, mixed=dense, generator=generator)

    def test_one_alpha_of_six_edges(self):
        net = self.build()
        assert [tuple(alpha.shape) for alpha in net.arch_parameters()] == [(6, 5)]
        assert net.type_of_cell == ["normal", "normal", None, "normal", "normal", None, "normal", "normal"]
        assert SPACE.edge_names == ["0-1", "0-2", "1-2", "0-3", "1-3", "2-3"]

    def test_no_batch_norm_of_a_cell_is_affine_and_no_pool_has_one(self):
        net = self.build()
        inside = [m for cell, kind in zip(net.cells, net.type_of_cell) if kind for m in cell.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(inside) == 6 * 6 * 2, "cells, edges, two convolutions"
        assert not any(bn.affine for bn in inside)
        outside = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m not in inside]
        assert len(outside) == 1 + 2 * 2 + 1
        assert all(bn.affine for bn in outside)

    def test_weights_of_0_and_1_are_the_discrete_network(self):
        net = self.build().eval()
        genotype = from_string(MIXED)
        network = nasbench201().network(genotype, in_channels=3, num_classes=10, init_channels=4, layers=6).eval()
        state = {name.replace("ops.", "edges."): value for name, value in net.state_dict().items()}
        own = network.state_dict()
        network.load_state_dict({name: state.get(name.replace("ops.", "edges."), value) for name, value in own.items()})
        with torch.no_grad():
            net.arch.normal.fill_(-1e4)
            for e, (_, edge) in enumerate(genotype.normal.edges):
                net.arch.normal[e, net.primitives.index(edge.op)] = 1e4
        x = torch.randn(2, 3, 16, 16)
        torch.testing.assert_close(net(x), network(x))

    @pytest.mark.parametrize("size", [(8, 8), (9, 11), (33, 31)])
    def test_odd_images(self, size):
        logits = self.build()(torch.randn(2, 3, *size))
        logits.logsumexp(1).sum().backward()
        assert logits.shape == (2, 10)
