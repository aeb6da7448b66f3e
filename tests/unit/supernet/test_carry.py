"""What a supernet takes over: operations that do the same when they are wider, alphas and optimisers of what is left."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.carry import carry_over, widened
from darts_core.supernet.cell import candidate

PRIMITIVES = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")


@pytest.mark.parametrize("name", ["sep_conv_3x3", "dil_conv_5x5", "nor_conv_3x3", "conv_7x1_1x7", "avg_pool_3x3", "skip_connect"])
@pytest.mark.parametrize(("narrow", "wide"), [(4, 6), (2, 6), (3, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_a_wider_operation_does_the_same_to_repeated_channels(name, narrow, wide, training):
    torch.manual_seed(0)
    one, other = (candidate(name, width, stride=1).double() for width in (narrow, wide))
    for bn in one.modules():
        if isinstance(bn, nn.BatchNorm2d):
            bn.running_mean.normal_()
            bn.running_var.uniform_(0.5, 2.0)
    other.load_state_dict({key: widened(one.state_dict()[key], value.shape) for key, value in other.state_dict().items()})
    one.train(training), other.train(training)
    repeats = torch.arange(wide) % narrow
    x = torch.randn(3, narrow, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(other(x[:, repeats]), one(x)[:, repeats])


def test_a_strided_skip_repeats_within_its_halves():
    torch.manual_seed(0)
    one, other = (candidate("skip_connect", width, stride=2).double() for width in (4, 8))
    other.load_state_dict({key: widened(one.state_dict()[key], value.shape) for key, value in other.state_dict().items()})
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(other(x[:, torch.arange(8) % 4]), one(x)[:, [0, 1, 0, 1, 2, 3, 2, 3]])


def test_nothing_is_narrowed():
    with pytest.raises(ValueError, match=r"may not narrow its candidates: \(4, 1\) expected at most\. Got \(2, 1\)"):
        widened(torch.zeros(4, 1), torch.Size((2, 1)))


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 3, 8, 8, generator=generator), torch.randint(4, (6,), generator=generator)


def later_phase(kept):
    """A supernet after three steps, and its successor of the phase with ``kept`` on the normal cell's edges."""
    torch.manual_seed(0)
    method = METHODS.build("drnas", {"progressive": True, "channel_proportions": (4, 2)})
    space = darts_cnn(init_channels=8, layers=3, nodes=2, primitives=PRIMITIVES)
    sizes = {"in_channels": 3, "num_classes": 4, "generator": torch.Generator().manual_seed(0)}
    old = method.supernet(space, **sizes)
    steps = Bilevel(old, method, SearchConfig(arch_lr=0.05))
    for number in range(3):
        steps.arch_step(train=batch(number), valid=batch(number + 9), lr=0.1)
        steps.weight_step(batch(number), lr=0.1)
    new = method.supernet(space, **sizes, phase=1, edge_primitives={"normal": kept})
    carry_over(old, new)
    later = Bilevel(new, method, SearchConfig(arch_lr=0.05))
    later.carry_from(steps)
    return steps, later


UNEVEN = [PRIMITIVES[:2], PRIMITIVES[1:3], PRIMITIVES, PRIMITIVES[2:], PRIMITIVES[:2]]


def test_alphas_and_their_moments_go_with_the_operations_that_are_left():
    steps, later = later_phase(UNEVEN)
    alpha, moments = steps.supernet.arch.get("normal"), steps.arch_optimizer.state[steps.supernet.arch.get("normal")]
    for rows in later.supernet.offers["normal"].rows:
        own = later.supernet.arch.get(rows.name)
        state = later.arch_optimizer.state[own]
        for k, (e, ops) in enumerate(zip(rows.edges, rows.ops)):
            assert torch.equal(own[k], alpha[e, list(ops)])
            assert torch.equal(state["exp_avg_sq"][k], moments["exp_avg_sq"][e, list(ops)])
        assert state["step"] == 3
    assert torch.equal(later.supernet.arch.get("reduce"), steps.supernet.arch.get("reduce"))
    assert torch.equal(later.supernet.relax.get_extra_state(), steps.supernet.relax.get_extra_state()), "the random stream goes on"
    later.arch_step(train=batch(4), valid=batch(5), lr=0.1)


def test_weights_and_their_momentum_are_widened():
    steps, later = later_phase(UNEVEN)
    name = "cells.0.edges.2.sep_conv_3x3.pw1.weight"
    narrow, wide = steps.supernet.weights()[name], later.supernet.weights()[name]
    assert (narrow.shape[:2], wide.shape[:2]) == ((2, 2), (4, 4))
    torch.testing.assert_close(wide, narrow.repeat(2, 2, 1, 1) / 2.0)
    buffers = [each.w_optimizer.state[p]["momentum_buffer"] for each, p in ((steps, narrow), (later, wide))]
    torch.testing.assert_close(buffers[1], buffers[0].repeat(2, 2, 1, 1))
    stem = "stem.conv.weight"
    assert torch.equal(steps.supernet.weights()[stem], later.supernet.weights()[stem])
    assert F.cross_entropy(later.supernet(batch(7)[0]), batch(7)[1]).isfinite()
