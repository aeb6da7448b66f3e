"""The dominant eigenvalue of the Hessian by alpha beside the dense Hessian, on a smooth supernet in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from darts_core.methods import METHODS
from darts_core.search.hessian import dominant_eigenvalue
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import BACKENDS


@pytest.fixture(autouse=True)
def _smooth(monkeypatch):
    monkeypatch.setattr(F, "relu", F.softplus)


def build(scale, method="darts"):
    torch.manual_seed(0)
    space = darts_cnn(init_channels=2, layers=3, nodes=1, primitives=("none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"))
    supernet = METHODS.build(method).supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for alpha in supernet.arch_parameters():
            alpha.copy_(scale * torch.randn(alpha.shape, dtype=alpha.dtype, generator=torch.Generator().manual_seed(1)))
    return supernet


def batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (6,), generator=generator)


def dense_eigenvalues(supernet):
    """All eigenvalues, from the Hessian by forward-over-reverse differences of one vector of all alphas."""
    twin = copy.deepcopy(supernet).train()
    names = [f"arch.{name}" for name in twin.arch.names]
    shapes = [alpha.shape for alpha in twin.arch_parameters()]
    images, labels = batch()

    def value(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        return F.cross_entropy(functional_call(twin, {n: p.view(s) for n, p, s in zip(names, parts, shapes)}, (images,)), labels)

    point = torch.cat([alpha.detach().flatten() for alpha in twin.arch_parameters()])
    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(value, point))


def lanczos(supernet, **options):
    return dominant_eigenvalue(supernet, F.cross_entropy, batch(), generator=torch.Generator().manual_seed(3), **options)


@pytest.mark.parametrize("method", ["darts", "fair_darts"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 3.0])
def test_it_is_the_dense_hessians_largest_eigenvalue(scale, method):
    supernet = build(scale, method)
    expected = float(dense_eigenvalues(supernet).max())
    assert lanczos(supernet, tolerance=1e-9) == pytest.approx(expected, rel=1e-8)
    assert lanczos(supernet) == pytest.approx(expected, rel=1e-3)


def test_a_negative_eigenvalue_of_larger_magnitude_is_not_taken():
    """That of the negative loss has all signs turned, so that its largest is the loss's least."""
    supernet = build(1.0)
    values = dense_eigenvalues(supernet)
    assert -float(values.min()) < float(values.max())

    def negative(logits, labels):
        return -F.cross_entropy(logits, labels)

    found = dominant_eigenvalue(supernet, negative, batch(), generator=torch.Generator().manual_seed(3), tolerance=1e-9)
    assert found == pytest.approx(-float(values.min()), rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_lean", [False, True])
def test_every_backend_finds_the_same(backend, is_lean):
    expected, supernet = lanczos(build(1.0)), build(1.0)
    supernet.use(BACKENDS[backend](), torch.device("cpu"), is_lean=is_lean)
    assert lanczos(supernet) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("is_training", [True, False])
def test_nothing_is_left_behind(is_training):
    supernet = build(1.0).train(is_training)
    before = copy.deepcopy(supernet.state_dict())
    lanczos(supernet)
    assert all(torch.equal(before[key], value) for key, value in supernet.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in supernet.parameters())
    assert supernet.training is is_training


def test_it_takes_few_backward_passes(monkeypatch):
    """Not one for each of the alphas."""
    passes = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **options: passes.append(1) or grad(*args, **options))
    supernet = build(1.0)
    lanczos(supernet, iterations=4, tolerance=0.0)
    assert len(passes) == 1 + 4
