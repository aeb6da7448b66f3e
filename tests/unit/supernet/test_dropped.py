"""Dropped paths beside hooks that multiply what each candidate returns; when they are drawn."""

import pytest
import torch
from torch import nn

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import BACKENDS

SPACE = darts_cnn(init_channels=4, layers=3, nodes=2, primitives=("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"))


def supernet(backend="reference", **options):
    torch.manual_seed(0)
    net = METHODS.build("darts", options).supernet(SPACE, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
    net.use(BACKENDS[backend](), torch.device("cpu"))
    return net


def images():
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("lean", [False, True], ids=["normal", "lean"])
@pytest.mark.parametrize("backend", ["reference", "eager", "native"])
@pytest.mark.parametrize("options", [{}, {"channel_proportion": 2, "edge_weights": True}], ids=["dense", "partial"])
def test_it_multiplies_what_candidates_return_but_identities(backend, options, lean):
    net, slow = supernet(backend, **options), supernet(**options)
    net.is_lean = lean
    scale_CEB = (torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.7) / 0.7
    for cell, scale_EB in zip(slow.cells, scale_CEB):
        for edge, scale_B in zip(cell.edges, scale_EB):
            for op in edge.values():
                if not isinstance(op, nn.Identity):
                    op.register_forward_hook(lambda module, args, out, s=scale_B: out * s.view(-1, 1, 1, 1))
    with net.dropping(scale_CEB):
        found = net(images())
    expected = slow(images())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    grads = [torch.autograd.grad(out.square().sum(), list(n.weights().values())) for n, out in ((net, found), (slow, expected))]
    for name, one, other in zip(net.weights(), *grads):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3, msg=name)
    assert not torch.allclose(found, supernet(**options)(images()))


def test_weight_steps_alone_drop_paths_and_more_of_them_later():
    net = supernet()
    method = METHODS.build("robust_darts", {"drop_path_prob": 0.4})
    steps, seen = Bilevel(net, method, SearchConfig(epochs=4)), []
    net.register_forward_pre_hook(lambda module, args: seen.append(module._paths))
    batch = (images(), torch.arange(6) % 3)
    for epoch in (0, 2):
        steps.start_epoch(epoch)
        steps.arch_step(train=batch, valid=batch, lr=0.1)
        steps.weight_step(batch, lr=0.1)
    assert [paths is None for paths in seen] == [True, True, True, False]
    assert seen[-1].shape == (3, 5, 6)
    assert set(seen[-1].unique().tolist()) == {0.0, 1.25}
    assert net._paths is None
