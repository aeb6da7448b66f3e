"""All time steps in one function, and by kernels, against the loop over edges: equal in everything that a step sees or moves."""

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data.windows import Window
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.ops.recurrent_steps import RecurrentSteps, Statistics
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.recurrent import RecurrentSupernet

CPU = torch.device("cpu")
FAST = [name for name in RecurrentSupernet.backends if name != "reference"]
HAS_KERNELS = kernels.is_available(kernels.RECURRENT)
WORDS = 9
OPTIONS = {"hidden": 5, "nodes": 3, "bptt": 5}
UNDROPPED = {f"dropout_{name}": 0.0 for name in ("embedding", "inputs", "gates", "hidden", "outputs")}


def skip_without_kernels(backend):
    if backend == "native" and not HAS_KERNELS:
        pytest.skip("no C++ compiler, so no native kernels")


def build(backend, *, method="darts", method_options=None, options=None):
    skip_without_kernels(backend)
    torch.manual_seed(0)
    space = SPACES.build("darts_rnn", {**OPTIONS, **(options or {})})
    own = METHODS.build(method, method_options or {})
    generator = torch.Generator().manual_seed(0)
    supernet = own.supernet(space, in_channels=WORDS, num_classes=WORDS, generator=generator).double()
    with torch.no_grad():
        for p in supernet.weights().values():
            p.mul_(10.0)  # away from the linear range
    supernet.use(BACKENDS[backend](), CPU)
    cfg = SearchConfig(lr=1.0, momentum=0.0, grad_clip=0.25, arch_lr=3e-3)
    return supernet, Bilevel(supernet, own, cfg)


def window(seed, steps=6, batch=4):
    tokens = torch.randint(WORDS, (steps + 1, batch), generator=torch.Generator().manual_seed(seed))
    return Window(tokens[:-1], torch.full((1, batch, 5), 0.3, dtype=torch.float64), share=steps / 4), tokens[1:].flatten()


def one_pass(backend, *, options=None, is_training=True):
    supernet, _ = build(backend, options=options)
    supernet.train(is_training)
    inputs, targets = window(1)
    inputs.state_SBD.requires_grad_()
    logits = supernet(inputs)  # which draws the masks of both passes
    scores, penalty = supernet.regularised(inputs)
    (supernet.loss(scores, targets) + penalty).backward()
    return {
        "logits": logits.detach(),
        "state": inputs.next_state,
        "state gradient": inputs.state_SBD.grad,
        **{f"gradient of {name}": p.grad for name, p in supernet.named_parameters()},
        **dict(supernet.named_buffers()),
    }


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        UNDROPPED,
        {"dropout_hidden": 0.0},
        {"activation_penalty": 0.5, "slowness_penalty": 0.7},
        {"primitives": ["identity", "relu"]},
        {"primitives": ["sigmoid", "none", "tanh"], "nodes": 1},
    ],
    ids=lambda options: "-".join(map(str, options)) or "default",
)
def test_a_pass_and_all_its_gradients(options, is_training, backend):
    expected, found = (one_pass(way, options=options, is_training=is_training) for way in ("reference", backend))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    ("method", "method_options"),
    [
        ("darts", {"arch_gradient": "first"}),
        ("darts", {"arch_gradient": "unrolled"}),
        ("darts", {"arch_gradient": "exact"}),
        ("gdas", {}),
        ("smooth_darts", {"perturbation": "adversarial", "attack_steps": 2}),
        ("gaea", {"edge_weights": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_three_steps(method, method_options, backend):
    seen = []
    for way in ("reference", backend):
        supernet, bilevel = build(way, method=method, method_options=method_options)
        losses = []
        for k in range(3):
            train = window(10 + k)
            losses.append(bilevel.arch_step(train=train, valid=window(20 + k), lr=1.0))
            losses.append(bilevel.weight_step(train, lr=1.0).loss)
        seen.append({"losses": torch.stack(losses), **supernet.weights(), **dict(supernet.arch.items())})
    expected, found = seen
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("backend", FAST)
def test_batchnorm_says_that_it_needs_two_columns(backend):
    supernet, _ = build(backend)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        supernet.train()(window(0, batch=1)[0])


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_products_near_zero_keep_the_digits_of_a_node(scale):
    """The tangent of the one function is made of a sigmoid, and so has the absolute error of one: less than what a node is rounded by."""
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((1, 64, 40), (64, 20), (20, 40), (20, 40))]
    seen = []
    for dtype in (torch.float32, torch.float64):
        product, first, u, w = (x.to(dtype) for x in exact)
        gives = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=dtype)
        seen.append(RecurrentSteps.apply(product, first, u, gives, None, Statistics(None, None, 1e-5), scale * w)[0].double())
    torch.testing.assert_close(seen[0], seen[1], rtol=0.0, atol=5e-6)
