"""Architecture gradients beside slow truths, on a smooth supernet in float64.

The supernet is the real one, with softplus in place of ReLU and without max pooling: on kinks the finite difference of the
second order and its exact value legitimately part (Liu et al., arXiv:1806.09055, equation 8, assumes derivatives that exist).
"""

import copy
import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search import bilevel
from darts_core.search.bilevel import Exact, FirstOrder, InnerStep, Unrolled
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import darts_cnn

LR = 0.1


@pytest.fixture(autouse=True)
def _smooth(monkeypatch):
    monkeypatch.setattr(F, "relu", F.softplus)


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (6,), generator=generator)


TRAIN, VALID = batch(1), batch(2)


@pytest.fixture(params=["fresh", "after two steps"])
def case(request):
    """A supernet and its inner step: with an empty optimiser, and with a momentum buffer. Weight decay is large enough to be seen."""
    torch.manual_seed(0)
    method = METHODS.build("darts")
    space = darts_cnn(init_channels=2, layers=3, nodes=1, primitives=("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
    supernet = method.supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for alpha in supernet.arch_parameters():
            alpha.mul_(500.0)  # from 1e-3 to a scale at which the operations differ
    steps = Bilevel(supernet.double(), method, SearchConfig(weight_decay=0.05, grad_clip=0.0))
    for number in (3, 4) if request.param == "after two steps" else ():
        steps.weight_step(batch(number), lr=LR)
    inner = InnerStep(lr=LR, momentum=0.9, weight_decay=0.05, optimizer=steps.w_optimizer)
    return supernet, inner


def gradient(order, supernet, inner):
    """Return the gradient of all alphas as one vector."""
    for alpha in supernet.arch_parameters():
        alpha.grad = None
    order(supernet, F.cross_entropy, train=TRAIN, valid=VALID, inner=inner)
    for alpha in supernet.arch_parameters():
        assert alpha.grad is not None, "an alpha got no gradient"
    return torch.cat([alpha.grad.flatten() for alpha in supernet.arch_parameters()])


def objective(supernet, inner, shift):
    """L_valid(w'(alpha + shift), alpha + shift), w' by a step of torch's own optimiser on a copy."""
    twin, optimizer = copied(supernet, inner)
    offset = 0
    with torch.no_grad():
        for alpha in twin.arch_parameters():
            alpha.add_(shift[offset : offset + alpha.numel()].view_as(alpha))
            offset += alpha.numel()
    optimizer.zero_grad()
    F.cross_entropy(twin(TRAIN[0]), TRAIN[1]).backward()
    if inner.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(twin.weights().values(), inner.grad_clip)
    optimizer.step()
    with torch.no_grad():
        return float(F.cross_entropy(twin(VALID[0]), VALID[1]))


def copied(supernet, inner):
    twin = copy.deepcopy(supernet)
    optimizer = torch.optim.SGD(twin.weights().values(), lr=inner.lr, momentum=inner.momentum, weight_decay=inner.weight_decay)
    state = copy.deepcopy(inner.optimizer.state_dict())
    for group in state["param_groups"]:
        group["lr"] = inner.lr
    optimizer.load_state_dict(state)
    return twin, optimizer


def relative(value, truth):
    return float((value - truth).norm() / truth.norm())


def direct_part(supernet, inner):
    """dL_valid(w', alpha)/dalpha with w' held fast; w' by a step of torch's own optimiser on a copy."""
    twin, optimizer = copied(supernet, inner)
    F.cross_entropy(twin(TRAIN[0]), TRAIN[1]).backward()
    optimizer.step()
    value = F.cross_entropy(twin(VALID[0]), VALID[1])
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(value, twin.arch_parameters())])


def check_against_the_objective(order, supernet, inner, *, directions=None):
    """Central differences through the whole inner step, along every alpha if no directions are given."""
    along = gradient(order, supernet, inner)
    rows = torch.eye(len(along), dtype=along.dtype) if directions is None else directions
    step = 1e-4
    truth = torch.tensor(
        [(objective(supernet, inner, step * row) - objective(supernet, inner, -step * row)) / (2.0 * step) for row in rows],
        dtype=along.dtype,
    )
    assert relative(rows @ along, truth) < 1e-6, "not the derivative of the objective"
    return truth


def check_against_exact(order, supernet, inner):
    assert relative(gradient(order, supernet, inner), gradient(Exact(), supernet, inner)) < 1e-3, "another gradient than the exact one"


def test_exact_is_the_derivative_of_the_whole_bilevel_objective(case):
    truth = check_against_the_objective(Exact(), *case)
    assert relative(gradient(FirstOrder(), *case), truth) > 0.05, "the case is one in which the second order matters"


def test_unrolled_agrees_with_exact_on_a_smooth_network(case):
    check_against_exact(Unrolled(), *case)


def test_the_difference_is_central(case, monkeypatch):
    """A step a tenth as long has a hundredth of the error, in the implicit term alone."""
    direct = direct_part(*case)
    exact = gradient(Exact(), *case) - direct
    errors = []
    for radius in (1e-2, 1e-3, 1e-4):
        monkeypatch.setattr(Unrolled, "radius", radius)
        errors.append(relative(gradient(Unrolled(), *case) - direct, exact))
    assert errors[0] < 5e-3
    assert 80.0 < errors[0] / errors[1] < 120.0
    assert 80.0 < errors[1] / errors[2] < 120.0


@pytest.mark.parametrize("order", [Unrolled, Exact])
def test_without_an_inner_step_it_is_the_first_order(case, order):
    supernet, inner = case
    still = dataclasses.replace(inner, lr=0.0)
    assert torch.equal(gradient(order(), supernet, still), gradient(FirstOrder(), supernet, still))


@pytest.mark.parametrize("order", [FirstOrder, Unrolled, Exact])
def test_the_loss_that_is_returned_is_the_one_that_was_differentiated(case, order):
    supernet, inner = case
    lr = 0.0 if order is FirstOrder else LR
    value = order()(supernet, F.cross_entropy, train=TRAIN, valid=VALID, inner=inner)
    expected = objective(supernet, dataclasses.replace(inner, lr=lr), torch.zeros(1000, dtype=torch.float64))
    assert float(value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("grad_clip", [0.05, 1e3])
def test_the_inner_step_is_clipped_as_the_weight_step_is(case, grad_clip):
    """To a norm that the gradient exceeds, and to one that it does not."""
    supernet, inner = case
    clipped = dataclasses.replace(inner, grad_clip=grad_clip)
    directions = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_against_the_objective(Exact(), supernet, clipped, directions=directions)
    value = Unrolled()(supernet, F.cross_entropy, train=TRAIN, valid=VALID, inner=clipped)
    assert float(value) == pytest.approx(objective(supernet, clipped, torch.zeros(1000, dtype=torch.float64)), rel=1e-12)


def test_what_is_frozen_beforehand_stays_so():
    weights = [torch.nn.Parameter(torch.ones(2), requires_grad=wanted) for wanted in (True, False)]

    def fail():
        with bilevel.frozen(weights):
            raise KeyboardInterrupt([p.requires_grad for p in weights])

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert caught.value.args == ([False, False],)
    assert [p.requires_grad for p in weights] == [True, False]


@pytest.mark.parametrize("order", [FirstOrder, Unrolled, Exact])
def test_weights_and_their_gradients_are_left_alone(case, order):
    supernet, inner = case
    before = {name: p.detach().clone() for name, p in supernet.weights().items()}
    buffers = copy.deepcopy(inner.optimizer.state_dict()["state"])
    gradient(order(), supernet, inner)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in supernet.weights().items())
    after = inner.optimizer.state_dict()["state"]
    assert after.keys() == buffers.keys()
    assert all(torch.equal(after[key]["momentum_buffer"], buffers[key]["momentum_buffer"]) for key in after)


def mutant(right, wrong, folder, monkeypatch):
    """Import the module with one expression replaced."""
    source = Path(bilevel.__file__).read_text(encoding="utf-8")
    assert source.count(right) == 1, "the line that is broken on purpose has changed: change it here, too"
    (folder / "mutant.py").write_text(source.replace(right, wrong), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mutant", folder / "mutant.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutant", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        pytest.param("(p - m) / (2.0 * epsilon)", "(p - m) / 2.0 * epsilon", "another gradient than", id="a wrong parenthesis"),
        pytest.param("p - inner.lr * step", "p - 0.0 * step", "another gradient than", id="a virtual step of zero"),
        pytest.param("alpha.grad = grad.detach()", "pass", "an alpha got no gradient", id="alphas that get no gradient"),
        pytest.param("d - scale * (p - m)", "d + scale * (p - m)", "another gradient than", id="a wrong sign"),
    ],
)
def test_published_defects_of_other_projects_would_be_caught(case, right, wrong, complaint, tmp_path, monkeypatch):
    """Each passed the tests of the project that published it."""
    order = mutant(right, wrong, tmp_path, monkeypatch).Unrolled()
    with pytest.raises(AssertionError, match=complaint):
        check_against_exact(order, *case)


@pytest.mark.parametrize("case", ["after two steps"], indirect=True)
@pytest.mark.parametrize(("right", "wrong"), [("grad + inner.weight_decay * p", "grad"), ("step + inner.momentum * buffer", "step")])
def test_a_forgotten_weight_decay_or_momentum_would_be_caught(case, right, wrong, tmp_path, monkeypatch):
    order = mutant(right, wrong, tmp_path, monkeypatch).Exact()
    directions = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_against_the_objective(Exact(), *case, directions=directions)
    with pytest.raises(AssertionError, match="not the derivative of the objective"):
        check_against_the_objective(order, *case, directions=directions)


@pytest.mark.parametrize("order", ["first", "unrolled", "exact"])
def test_alphas_behind_nothing_but_noise_stand_still(order):
    """A cell whose output does not depend on its input hides all that is before it: gradient 0, and no error."""
    space = SPACES.build("s4", {"init_channels": 4, "layers": 3, "nodes": 1, "primitives": ("noise",)})
    method = METHODS.build("darts", {"arch_gradient": order})
    supernet = method.supernet(space, in_channels=3, num_classes=4, generator=torch.Generator().manual_seed(0))
    batch = torch.randn(4, 3, 8, 8), torch.randint(4, (4,))
    inner = InnerStep(lr=0.1, momentum=0.9, weight_decay=0.0, optimizer=Bilevel(supernet, method, SearchConfig()).w_optimizer)
    method.arch_gradient(supernet, F.cross_entropy, train=batch, valid=batch, inner=inner)
    assert all(not alpha.grad.any() for alpha in supernet.arch_parameters())
