"""Dropout on skip connections: off in evaluation, alike on every backend and in both memory modes, and the share that it says."""

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.engine.selection import mean_quality
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.search.hessian import dominant_eigenvalue
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.backend import Compiled, Eager, Native, Reference
from darts_core.supernet.skip_dropout import DroppedSkip

CPU = torch.device("cpu")
OPTIONS = {"skip_dropout": (0.5, 0.0, 0.0), "warmup_epochs": 0}


def build(space="darts_cnn", options=OPTIONS):
    torch.manual_seed(0)
    primitives = {"primitives": ("none", "skip_connect", "sep_conv_3x3")} if space == "darts_cnn" else {}
    method = METHODS.build("p_darts", options)
    built = SPACES.build(space, {"init_channels": 4, "layers": 3, "nodes": 2, **primitives})
    supernet = method.supernet(built, in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0)).double()
    return supernet, Bilevel(supernet, method, SearchConfig(epochs=6, arch_lr=0.05))


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=generator), torch.randint(4, (6,), generator=generator)


def test_a_share_of_the_values_is_left_out_and_the_rest_scaled():
    skip, x = DroppedSkip(), torch.randn(4, 8, 16, 16) + 5.0
    assert skip(x) is x
    skip.rate, skip.seed = 0.25, 3
    out = skip(x)
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(out[out != 0], (x / 0.75)[out != 0])
    assert torch.equal(skip(x), out), "the mask is a function of the seed"
    assert torch.equal(skip(x.to(memory_format=torch.channels_last)), out)
    skip.seed = 4
    assert not torch.equal(skip(x), out)


@pytest.mark.parametrize("space", ["darts_cnn", "nasbench201"])
def test_it_is_off_in_evaluation_and_drawn_anew_in_training(space):
    net, _ = build(space)
    plain, _ = build(space, {"skip_dropout": (0.0, 0.0, 0.0), "warmup_epochs": 0})
    x = batch(0)[0]
    assert net.skip_dropout.rate == 0.5
    assert plain.skip_dropout is None
    assert not torch.equal(net(x), net(x))
    torch.testing.assert_close(net.eval()(x), net(x), rtol=0.0, atol=0.0)
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("skip_dropout")})
    torch.testing.assert_close(plain.eval()(x), net(x), rtol=0.0, atol=0.0)


def test_strided_skips_are_not_dropped():
    net, _ = build()
    kinds = {
        (cell.is_reduction and src < 2, type(edge["skip_connect"]))
        for cell in net.cells
        for (src, _), edge in zip(net.shape.sources, cell.edges)
    }
    assert {is_strided for is_strided, kind in kinds if kind is DroppedSkip} == {False}
    assert not any(kind is DroppedSkip for is_strided, kind in kinds if is_strided)


@pytest.mark.parametrize("way", [(Reference, True), (Eager, False), (Eager, True), (Native, True), (Compiled, False)])
def test_every_backend_leaves_out_the_same(way):
    if way[0] is Native and not kernels.is_available():
        pytest.skip("no C++ compiler, so no native kernels")
    states = []
    for backend, is_lean in ((Reference, False), way):
        net, steps = build()
        net.use(backend(compiles=False) if backend is Compiled else backend(), CPU, is_lean=is_lean)
        for number in range(2):
            steps.arch_step(train=batch(number), valid=batch(number + 9), lr=0.1)
            steps.weight_step(batch(number), lr=0.1)
        states.append(net.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-8, atol=1e-10, msg=name)


def test_the_rate_decays_within_a_phase():
    _, steps = build(options={"skip_dropout": (0.2, 0.4, 0.8), "warmup_epochs": 2})
    steps.cfg = SearchConfig(epochs=12)
    rates = []
    for epoch in range(12):
        steps.start_epoch(epoch)
        rates.append(steps.supernet.skip_dropout.rate)
    shape = [3 / 4, 2 / 4, 1.0, 0.8187307530779818]
    assert rates == pytest.approx([first * share for first in (0.2, 0.4, 0.8) for share in shape])


def test_what_looks_at_a_supernet_neither_sees_noise_nor_moves_the_stream():
    net, _ = build("nasbench201")
    before = net.skip_dropout.get_extra_state()
    genotype = SPACES.build("nasbench201", {"init_channels": 4, "layers": 3}).random_genotype(torch.Generator().manual_seed(0))
    with net.only(genotype):
        assert len({mean_quality(net, [batch(0)]) for _ in range(3)}) == 1
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    first, second = (dominant_eigenvalue(net, F.cross_entropy, batch(0), generator=generator) for generator in generators)
    assert first == second
    assert net.skip_dropout.rate == 0.5
    after = net.skip_dropout.get_extra_state()
    assert torch.equal(*(torch.as_tensor(state) for state in (before, after)))
