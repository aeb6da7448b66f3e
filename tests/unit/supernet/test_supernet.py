import pytest
import torch
from torch import nn

from darts_core.metrics import count_parameters
from darts_core.search.relax import softmax
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.mixed import dense
from darts_core.supernet.sampled import Weights
from darts_core.supernet.shape import CellShape


def build(*, seed=0, primitives=("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"), nodes=2, **options):
    torch.manual_seed(seed)
    sizes = {
        "shape": CellShape(nodes=nodes),
        "init_channels": 2,
        "layers": 3,
        "stem": "cifar",
        "in_channels": 3,
        "num_classes": 5,
        **options,
    }
    return ImageSupernet(primitives, relax=softmax, mixed=dense, generator=torch.Generator().manual_seed(seed), **sizes)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11), (32, 32), (33, 31), (224, 224)], ids=lambda size: "x".join(map(str, size)))
def test_images_from_8_to_224_pixels(stem, size):
    net = build(stem=stem, in_channels=1)
    logits = net(torch.randn(2, 1, *size))
    assert logits.shape == (2, 5)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.eval()(torch.randn(1, 1, *size)).shape == (1, 5)


def test_alphas_and_weights_are_all_parameters_and_none_is_both():
    net = build()
    alphas, weights = net.arch_parameters(), net.weights()
    assert {id(p) for p in alphas}.isdisjoint(id(p) for p in weights.values())
    assert {id(p) for p in net.parameters()} == {id(p) for p in [*alphas, *weights.values()]}
    assert [tuple(alpha.shape) for alpha in alphas] == [(5, 4), (5, 4)]
    assert count_parameters(net) == sum(p.numel() for p in weights.values())


def test_all_cells_of_a_type_share_their_alphas():
    net = build(layers=5).eval()
    x = torch.randn(2, 3, 8, 8)
    before = net(x)
    with torch.no_grad():
        net.arch.reduce[0, 2] += 3.0
    assert not torch.allclose(net(x), before)
    assert net.type_of_cell == ["normal", "reduce", "normal", "reduce", "normal"]


def test_batch_norm_is_affine_in_the_stem_alone():
    affine = {name for name, module in build().named_modules() if isinstance(module, nn.BatchNorm2d) and module.affine}
    assert affine == {"stem.bn"}


def test_the_papers_supernet_has_the_papers_size():
    net = build(primitives=DARTS_PRIMITIVES, nodes=4, init_channels=16, layers=8, num_classes=10)
    assert sum(p.numel() for p in net.weights().values()) == 1_930_618
    assert len(net.weights()) == 1399
    assert sum(p.numel() for p in net.arch_parameters()) == 224


def test_mixture_is_the_relaxation_of_alpha_without_a_graph():
    net = build()
    mixture = net.mixture()
    assert list(mixture) == ["normal", "reduce"]
    for cell_type, op_EO in mixture.items():
        torch.testing.assert_close(op_EO, getattr(net.arch, cell_type).detach().softmax(-1))
        assert not op_EO.requires_grad


def test_the_state_dict_holds_the_alphas():
    one, other = build(seed=0), build(seed=1)
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(one.eval()(x), other.eval()(x))
    assert {"arch.normal", "arch.reduce"} <= set(one.state_dict())


def test_the_order_of_the_primitives_is_a_matter_of_names():
    """Columns of alpha permuted together with the primitives leave the function as it was."""
    names = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
    order = [2, 0, 3, 1]
    one, other = build(primitives=names), build(primitives=tuple(names[o] for o in order))
    state = one.state_dict()
    with torch.no_grad():
        for cell_type in ("normal", "reduce"):
            state[f"arch.{cell_type}"] = torch.randn(5, 4)
            one.arch.get_parameter(cell_type).copy_(state[f"arch.{cell_type}"])
            state[f"arch.{cell_type}"] = state[f"arch.{cell_type}"][:, order]
    other.load_state_dict(state)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(other.eval()(x), one.eval()(x))


def test_only_a_genotype_is_the_mixture_of_weights_0_and_1():
    """Whatever the backend, nothing else of the supernet takes part."""
    space = SPACES.build("darts_cnn", {"init_channels": 2, "layers": 3, "nodes": 2})
    generator = torch.Generator().manual_seed(0)
    net = space.supernet(in_channels=3, num_classes=5, relax=softmax, mixed=dense, generator=generator)
    genotype = space.random_genotype(generator)
    x = torch.randn(4, 3, 8, 8)
    with net.only(genotype):
        found = net.eval()(x)
    assert not torch.allclose(found, net(x))
    net.relax = lambda alpha_EO: Weights(net.path(genotype, "normal" if alpha_EO is net.arch.normal else "reduce").op_EO)
    torch.testing.assert_close(net(x), found)
    weights = net.path(genotype, "normal").op_EO
    assert (weights.sum().item(), weights.max().item()) == (4.0, 1.0)
