"""A discrete network by the kernels and by the compiler, beside itself by torch's operations."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import RetrainConfig
from darts_core.engine.retrain import Trainer
from darts_core.genotype import Cell, Edge, Genotype
from darts_core.nets import backend as backends
from darts_core.nets.backend import compiled_alone, reset_backend, use_backend
from darts_core.nets.baselines import BASELINES
from darts_core.nets.network import Network
from darts_core.ops.drop_path import DropPath
from darts_core.ops.native import library as kernels
from darts_core.runtime.compiler import BuildError

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(not kernels.is_available(), reason="no C++ compiler, so no native kernels")


def network(dtype=torch.float32):
    cell = Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("max_pool_3x3", 2), Edge("dil_conv_5x5", 0))), (2, 3))
    torch.manual_seed(0)
    drop_path = DropPath(torch.Generator().manual_seed(0), prob=0.3)
    sizes = {"in_channels": 1, "num_classes": 3, "init_channels": 4, "layers": 3}
    return Network(Genotype(normal=cell, reduce=cell), **sizes, auxiliary=True, drop_path=drop_path).to(dtype)


def images(dtype=torch.float32, number=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, 1, 8, 8, generator=generator, dtype=dtype), torch.randint(3, (number,), generator=generator)


def trained(net, *, steps=3, dtype=torch.float32, **options):
    """The losses of some steps, and the weights and buffers after them."""
    trainer = Trainer(net.train(), RetrainConfig(**options), device=CPU, drop_path=net.drop_path)
    batch, labels = images(dtype)
    losses = torch.stack([trainer.step(batch.contiguous(memory_format=torch.channels_last), labels)[0] for _ in range(steps)])
    return losses, trainer.weights()


def assert_equal(one, other, *, within):
    torch.testing.assert_close(one[0], other[0], rtol=within, atol=within)
    assert one[1].keys() == other[1].keys()
    for name, value in one[1].items():
        torch.testing.assert_close(value, other[1][name], rtol=within, atol=within, msg=lambda text, name=name: f"{name}: {text}")


@needs_compiler
def test_native_takes_the_steps_of_eager():
    plain, fast = network(torch.float64), network(torch.float64)
    used = use_backend(fast, "native", images()[0], device=CPU)
    assert (used.name, used.fell_back) == ("native", False)
    assert "6 operations" in used.why
    assert_equal(trained(fast, dtype=torch.float64), trained(plain, dtype=torch.float64), within=1e-10)
    batch = images(torch.float64)[0]
    with torch.no_grad():
        torch.testing.assert_close(fast.eval()(batch), plain.eval()(batch), rtol=1e-9, atol=1e-9)


@needs_compiler
def test_native_goes_on_bit_for_bit_from_a_saved_state():
    def trainer():
        net = network()
        assert use_backend(net, "native", images()[0], device=CPU).name == "native"
        return Trainer(net.train(), RetrainConfig(), device=CPU, drop_path=net.drop_path)

    whole, first, second = trainer(), trainer(), trainer()
    for _ in range(2):
        whole.step(*images())
    first.step(*images())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.step(*images())
    assert all(torch.equal(value, second.weights()[name]) for name, value in whole.weights().items())


@needs_compiler
def test_the_way_back_to_eager():
    net = network()
    use_backend(net, "native", images()[0], device=CPU)
    reset_backend(net)
    losses, weights = trained(net)
    expected_losses, expected = trained(network())
    assert torch.equal(losses, expected_losses)
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def test_native_without_a_compiler_is_eager(monkeypatch):
    def missing():
        raise BuildError("no C++ compiler")

    monkeypatch.setattr(backends, "library", missing)
    used = use_backend(network(), "native", images()[0], device=CPU)
    assert (used.name, used.fell_back) == ("eager", True)
    assert used.why == "eager, for native cannot be had: no C++ compiler"


@needs_compiler
def test_kernels_that_fail_their_check_are_not_used(monkeypatch):
    monkeypatch.setattr(backends, "_disagreement", lambda op: float("nan"))
    net = network()
    used = use_backend(net, "native", images()[0], device=CPU)
    assert (used.name, used.fell_back) == ("eager", True)
    assert "failed their check" in used.why
    assert not any(getattr(module, "uses_kernels", False) for module in net.modules())


def test_a_network_that_native_knows_nothing_of():
    used = use_backend(BASELINES.get("resnet20")(in_channels=1, num_classes=3, image_size=8), "native", images()[0], device=CPU)
    assert (used.name, used.fell_back) == ("eager", False)
    assert used.why == "eager, for native has no kernel for any of its operations"


def test_a_compiler_that_fails_leaves_eager(monkeypatch):
    def fails(self, **options):
        def call(*arguments):
            raise RuntimeError("no such thing\nand more")

        self._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", fails)
    net = network()
    used = use_backend(net, "compiled", images()[0], device=CPU)
    assert (used.name, used.fell_back) == ("eager", True)
    assert used.why == "eager, for compiled cannot be had: torch.compile failed: no such thing"
    losses, _ = trained(net)
    assert torch.equal(losses, trained(network())[0])


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@needs_compiler
def test_compiled_takes_the_steps_of_eager_and_compiles_nothing_later(monkeypatch):
    plain, fast = network(), network()
    names, draws = sorted(fast.state_dict()), fast.drop_path.generator.get_state()
    random = torch.get_rng_state()
    used = use_backend(fast, "compiled", images()[0], device=CPU, memory_format=torch.channels_last)
    assert (used.name, used.fell_back) == ("compiled", False), used.why
    assert sorted(fast.state_dict()) == names
    assert torch.equal(fast.drop_path.generator.get_state(), draws)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in fast.state_dict().items())
    from torch._dynamo.utils import counters

    compiled = counters["stats"]["unique_graphs"]
    assert compiled > 0
    with compiled_alone(used):
        assert_equal(trained(fast), trained(plain), within=1e-3)
        batch = images(number=3)[0]
        with torch.no_grad():
            torch.testing.assert_close(fast.eval()(batch), plain.eval()(batch), rtol=1e-3, atol=1e-3)
    assert counters["stats"]["unique_graphs"] == compiled
    assert F.cross_entropy(copy.deepcopy(fast).train()(images()[0])[0], images()[1]).isfinite()
