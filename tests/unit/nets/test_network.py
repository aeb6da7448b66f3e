import pytest
import torch
from torch import nn

from darts_core.genotype import Cell, Edge, Genotype, published
from darts_core.nets.network import DiscreteCell, Network
from darts_core.nets.skeleton import CellPlan
from darts_core.ops.conv import FactorizedReduce, ReluConvBn
from darts_core.ops.drop_path import DropPath

SMALL = {"in_channels": 3, "num_classes": 5, "init_channels": 4, "layers": 3}


def cell(*nodes, concat):
    return Cell(tuple(tuple(Edge(op, src) for op, src in node) for node in nodes), tuple(concat))


def network(genotype=None, *, seed=0, **options):
    torch.manual_seed(seed)
    return Network(genotype or published("DARTS_V2"), **{**SMALL, **options})


def plan(*, is_reduction=False, follows_reduction=False, channels=4):
    return CellPlan(channels_in=(6, 8), channels=channels, is_reduction=is_reduction, follows_reduction=follows_reduction)


class TestCell:
    def test_a_node_is_the_sum_of_its_edges_and_the_output_joins_nodes(self):
        torch.manual_seed(0)
        module = DiscreteCell(
            cell([("skip_connect", 0), ("avg_pool_3x3", 1)], [("skip_connect", 2)], [("max_pool_3x3", 3)], concat=(3, 2)), plan()
        )
        s0, s1 = torch.randn(2, 6, 5, 5), torch.randn(2, 8, 5, 5)
        fitted0, fitted1 = module.preprocess0(s0), module.preprocess1(s1)
        first = fitted0 + nn.functional.avg_pool2d(fitted1, 3, stride=1, padding=1, count_include_pad=False)
        torch.testing.assert_close(module(s0.relu(), s1.relu()), torch.cat([first, first], dim=1))

    def test_only_edges_from_the_cells_inputs_are_strided_in_a_reduction(self):
        module = DiscreteCell(
            cell([("max_pool_3x3", 0), ("skip_connect", 1)], [("max_pool_3x3", 2)], concat=(2, 3)), plan(is_reduction=True)
        )
        strides = [op["max_pool_3x3"].stride for op in module.ops if "max_pool_3x3" in op]
        assert strides == [2, 1]
        assert isinstance(module.ops[1]["skip_connect"], FactorizedReduce)
        assert module(torch.randn(2, 6, 7, 9), torch.randn(2, 8, 7, 9)).shape == (2, 8, 4, 5)

    @pytest.mark.parametrize(("follows_reduction", "kind"), [(True, FactorizedReduce), (False, ReluConvBn)])
    def test_after_a_reduction_the_older_input_is_halved(self, follows_reduction, kind):
        module = DiscreteCell(cell([("skip_connect", 0), ("skip_connect", 1)], concat=(2,)), plan(follows_reduction=follows_reduction))
        assert type(module.preprocess0) is kind
        assert type(module.preprocess1) is ReluConvBn

    def test_a_node_of_none_alone_is_zero(self):
        module = DiscreteCell(cell([("none", 0)], [("sep_conv_3x3", 2), ("skip_connect", 1)], concat=(2, 3)), plan())
        out = module(torch.randn(2, 6, 5, 5), torch.randn(2, 8, 5, 5))
        assert not out[:, :4].any()
        out.pow(2).sum().backward()
        assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


class TestDropPath:
    GENOTYPE = cell([("skip_connect", 0), ("skip_connect", 1)], [("sep_conv_3x3", 0), ("max_pool_3x3", 1)], concat=(2, 3))

    def calls(self, plan):
        """The inputs that drop path is given by a cell."""
        seen = []
        module = DiscreteCell(self.GENOTYPE, plan)
        size = torch.randn(2, 6, 8, 8), torch.randn(2, 8, 8, 8)
        module(*size, drop_path=lambda x: seen.append(x) or x)
        return len(seen)

    def test_identities_are_skipped_and_nothing_else(self):
        assert self.calls(plan()) == 2, "two of four edges are identities"
        assert self.calls(plan(is_reduction=True)) == 4, "a strided skip is a convolution"

    def test_it_drops_single_images_in_training_and_none_in_evaluation(self):
        drop = DropPath(torch.Generator().manual_seed(0), prob=0.5)
        net = network(drop_path=drop)
        x = torch.randn(1, 3, 8, 8).expand(8, 3, 8, 8)
        assert net.train()(x).std(0).max() > 1e-3, "equal images come out unequal"
        net.eval()
        before = drop.generator.get_state()
        out = net(x)
        torch.testing.assert_close(out, out[:1].expand_as(out))
        assert torch.equal(drop.generator.get_state(), before)

    def test_at_probability_0_it_changes_nothing_and_draws_nothing(self):
        drop = DropPath(torch.Generator().manual_seed(0), prob=0.0)
        before = drop.generator.get_state()
        x = torch.randn(4, 3, 8, 8)
        assert torch.equal(network(drop_path=drop)(x), network()(x))
        assert torch.equal(drop.generator.get_state(), before)


class TestAuxiliaryHead:
    def test_two_logits_in_training_one_in_evaluation(self):
        net = network(auxiliary=True)
        x = torch.randn(4, 3, 16, 16)
        logits, auxiliary = net(x)
        assert logits.shape == auxiliary.shape == (4, 5)
        assert net.eval()(x).shape == (4, 5)

    def test_it_reads_the_cell_at_two_thirds(self):
        net = network(auxiliary=True, layers=4)
        assert net.auxiliary_layer == 2
        seen = []
        net.auxiliary_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
        net(torch.randn(2, 3, 32, 32))
        assert seen == [(2, 4 * 4 * 4, 8, 8)]

    def test_it_has_no_part_in_the_weights_that_are_deployed(self):
        with_head, without = network(auxiliary=True), network()
        assert {key for key in with_head.state_dict() if not key.startswith("auxiliary_head.")} == set(without.state_dict())


SIZES = [(8, 8), (9, 9), (11, 8), (15, 17), (28, 28), (31, 33), (64, 48), (97, 97), (224, 224)]


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_images_from_8_to_224_pixels(stem, size):
    net = network(stem=stem, auxiliary=True, init_channels=2, in_channels=1)
    logits, auxiliary = net(torch.randn(2, 1, *size))
    (logits + auxiliary).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.eval()(torch.randn(1, 1, *size)).shape == (1, 5)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("init_channels", [1, 3])
def test_any_depth_and_width(layers, init_channels):
    assert network(layers=layers, init_channels=init_channels, auxiliary=True).eval()(torch.randn(1, 3, 9, 9)).shape == (1, 5)


def test_cells_may_concatenate_different_numbers_of_nodes():
    genotype = Genotype(
        normal=cell([("skip_connect", 0), ("skip_connect", 1)], [("sep_conv_3x3", 2)], concat=(3,)),
        reduce=cell([("max_pool_3x3", 0)], [("dil_conv_3x3", 1)], [("skip_connect", 2)], concat=(2, 3, 4)),
    )
    assert network(genotype, layers=6)(torch.randn(2, 3, 16, 16)).shape == (2, 5)


def test_equal_seeds_give_equal_networks():
    one, other = network(seed=4).state_dict(), network(seed=4).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
