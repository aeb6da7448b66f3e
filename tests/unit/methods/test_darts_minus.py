"""The auxiliary skip connections of DARTS-: what they add, how they decay, and that without their weight it is DARTS."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.ops.conv import FactorizedReduce
from darts_core.ops.native import library as kernels
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES, darts_cnn
from darts_core.spaces.nasbench201 import from_string
from darts_core.supernet.backend import BACKENDS

CPU = torch.device("cpu")


def build(name, *, backend="reference", order="first", proportion=1, is_lean=False, **options):
    torch.manual_seed(0)
    space = darts_cnn(init_channels=4, layers=3, nodes=2, primitives=DARTS_PRIMITIVES)
    parts = {"arch_gradient": order, "channel_proportion": proportion, "edge_weights": proportion > 1}
    method = METHODS.build(name, {**parts, **options})
    supernet = method.supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()
    supernet.use(BACKENDS[backend](), CPU, is_lean=is_lean)
    return Bilevel(supernet, method, SearchConfig(epochs=10, arch_lr=0.05))


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (6,), generator=generator)


def three_steps(steps):
    losses = []
    for number in range(3):
        steps.start_epoch(number)
        losses.append(steps.arch_step(train=batch(number), valid=batch(number + 10), lr=0.1))
        losses.append(steps.weight_step(batch(number), lr=0.1).loss)
    return torch.stack(losses)


@pytest.mark.parametrize("order", ["first", "unrolled", "exact"])
@pytest.mark.parametrize("proportion", [1, 2])
def test_with_a_weight_of_zero_it_is_darts(order, proportion):
    plain, minus = (
        build(name, order=order, proportion=proportion, **options)
        for name, options in (("darts", {}), ("darts_minus", {"skip_weight": 0.0}))
    )
    torch.testing.assert_close(three_steps(minus), three_steps(plain), rtol=1e-12, atol=0.0)
    other = minus.supernet.state_dict()
    for key, value in plain.supernet.state_dict().items():
        torch.testing.assert_close(other[key], value, rtol=1e-9, atol=1e-12)


def test_each_edge_adds_its_weighted_skip():
    """Against DARTS whose own skip connections have the auxiliary weight more, with the same convolutions where a skip halves."""
    plain, minus = build("darts"), build("darts_minus", skip_weight=0.7)
    index = DARTS_PRIMITIVES.index("skip_connect")
    for own, other in zip(plain.supernet.cells, minus.supernet.cells):
        for edge, auxiliary in zip(own.edges, other.auxiliary_skips):
            if isinstance(auxiliary, FactorizedReduce):
                auxiliary.load_state_dict(edge["skip_connect"].state_dict())
    for edge_pair in zip(plain.supernet.cells, minus.supernet.cells):
        kinds = [(type(edge["skip_connect"]), type(auxiliary)) for edge, auxiliary in zip(edge_pair[0].edges, edge_pair[1].auxiliary_skips)]
        assert all(one is other and one in (nn.Identity, FactorizedReduce) for one, other in kinds)
    raised = {cell: op_EO.clone() for cell, op_EO in plain.supernet.op_weights().items()}
    for op_EO in raised.values():
        op_EO[:, index] += 0.7
    images = batch(0)[0]
    with plain.supernet.weighing(raised):
        expected = plain.supernet(images)
    torch.testing.assert_close(minus.supernet(images), expected)


@pytest.mark.parametrize(
    ("backend", "is_lean"), [("reference", True), ("eager", False), ("eager", True), ("native", False), ("native", True)]
)
@pytest.mark.parametrize("proportion", [1, 2])
def test_every_backend_takes_the_same_steps(backend, is_lean, proportion):
    if backend == "native" and not kernels.is_available():
        pytest.skip("no C++ compiler, so no native kernels")
    expected = three_steps(build("darts_minus", proportion=proportion))
    torch.testing.assert_close(three_steps(build("darts_minus", proportion=proportion, backend=backend, is_lean=is_lean)), expected)


@pytest.mark.parametrize(("decay", "weights"), [("linear", [2.0, 1.0, 0.2]), ("cosine", [2.0, 1.0, 2.0 * 0.024471742])])
def test_the_weight_decays_and_is_saved_with_the_supernet(decay, weights):
    steps = build("darts_minus", skip_weight=2.0, decay=decay)
    seen = []
    for epoch in (0, 5, 9):
        steps.start_epoch(epoch)
        seen.append(float(steps.supernet.state_dict()["auxiliary_weight"]))
    assert seen == pytest.approx(weights)


def test_it_is_no_architecture_parameter_and_is_not_derived():
    steps, plain = build("darts_minus"), build("darts")
    assert [alpha.shape for alpha in steps.supernet.arch_parameters()] == [alpha.shape for alpha in plain.supernet.arch_parameters()]
    assert "auxiliary_weight" not in steps.supernet.weights()
    assert "auxiliary_weight" not in plain.supernet.state_dict()
    assert dataclasses.replace(steps.method, auxiliary_skip=None).derive is plain.method.derive
    assert steps.supernet.mixture().keys() == plain.supernet.mixture().keys()


def test_its_convolutions_are_weights_that_learn():
    steps = build("darts_minus")
    names = [name for name in steps.supernet.weights() if "auxiliary_skips" in name]
    assert len(names) == 2 * 4 * 2, "two convolutions on each of the four edges of stride two in both reductions"
    loss = F.cross_entropy(steps.supernet(batch(0)[0]), batch(0)[1])
    grads = torch.autograd.grad(loss, [steps.supernet.weights()[name] for name in names])
    assert all(grad.abs().max() > 0.0 for grad in grads)


def test_the_auxiliary_skip_is_no_part_of_an_architecture():
    space = SPACES.build("nasbench201", {"init_channels": 4, "layers": 3})
    net = METHODS.build("darts_minus").supernet(space, in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0)).eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with net.only(from_string("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")):
        empty = net(images)
        net.auxiliary_weight.fill_(0.0)
        assert torch.equal(net(images), empty)
