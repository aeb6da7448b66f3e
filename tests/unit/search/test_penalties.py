"""Penalties against their formulas written out, and as a part of the arch step with every gradient."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.search.bilevel import ARCH_GRADIENTS
from darts_core.search.penalties import BetaDecay, DirichletDivergence, ZeroOneLoss
from darts_core.search.steps import Bilevel


def scaled(steps, factor=1000.0):
    with torch.no_grad():
        for alpha in steps.supernet.arch_parameters():
            alpha.mul_(factor)
    return steps


def gradients(penalty, supernet, progress=0.5):
    return torch.autograd.grad(penalty(supernet, progress), supernet.arch_parameters())


def test_the_zero_one_loss_and_its_gradient(make):
    supernet = scaled(make()).supernet
    alphas = [alpha.detach() for alpha in supernet.arch_parameters()]
    count = sum(alpha.numel() for alpha in alphas)
    gates = [1.0 / (1.0 + torch.exp(-alpha)) for alpha in alphas]
    value = -10.0 * sum(float(((gate - 0.5) ** 2).sum()) for gate in gates) / count
    assert float(ZeroOneLoss(10.0)(supernet, 0.3).detach()) == pytest.approx(value, rel=1e-12)
    for found, gate in zip(gradients(ZeroOneLoss(10.0), supernet), gates):
        torch.testing.assert_close(found, -20.0 * (gate - 0.5) * gate * (1.0 - gate) / count)


def test_the_zero_one_loss_drives_gates_apart(make):
    """Down the penalty a gate above one half rises and one below it falls."""
    supernet = scaled(make()).supernet
    for alpha, grad in zip(supernet.arch_parameters(), gradients(ZeroOneLoss(1.0), supernet)):
        assert torch.equal((-grad).sign(), alpha.detach().sign())


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.98])
def test_beta_decay_is_the_smooth_maximum_and_its_gradient_a_softmax(make, progress):
    supernet = scaled(make()).supernet
    alphas = [alpha.detach() for alpha in supernet.arch_parameters()]
    edges = sum(len(alpha) for alpha in alphas)
    value = sum(math.log(sum(math.exp(a) for a in row)) for alpha in alphas for row in alpha.tolist()) / edges
    assert float(BetaDecay(50.0)(supernet, progress).detach()) == pytest.approx(50.0 * progress * value, rel=1e-12)
    for found, alpha in zip(gradients(BetaDecay(50.0), supernet, progress), alphas):
        torch.testing.assert_close(found, 50.0 * progress * alpha.exp() / alpha.exp().sum(1, keepdim=True) / edges)


@pytest.mark.parametrize("order", ARCH_GRADIENTS.names())
@pytest.mark.parametrize("penalties", [(BetaDecay(3.0),), (ZeroOneLoss(5.0), BetaDecay(2.0))])
def test_the_arch_step_adds_the_gradient_of_the_penalties_with_every_order(make, batch, order, penalties):
    """The published Beta-DARTS has none in its unrolled step."""

    def taken(method):
        plain = scaled(make(order))
        steps = Bilevel(plain.supernet, dataclasses.replace(plain.method, penalties=method), plain.cfg)
        steps.start_epoch(10)
        seen = []
        steps.arch_optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: seen.extend(alpha.grad.clone() for alpha in steps.supernet.arch_parameters())
        )
        expected = [sum(parts) for parts in zip(*(gradients(penalty, steps.supernet, steps.progress) for penalty in method))]
        return seen, expected, steps.arch_step(train=batch(0), valid=batch(1), lr=0.1)

    without, _, loss = taken(())
    found, expected, penalised_loss = taken(penalties)
    for grad, plain, extra in zip(found, without, expected, strict=True):
        torch.testing.assert_close(grad, plain + extra)
        assert extra.abs().max() > 1e-3
    assert torch.equal(loss, penalised_loss), "the loss that is logged is that of the images"


def test_beta_decay_grows_along_the_search(make):
    plain = make(epochs=20)
    steps = Bilevel(plain.supernet, METHODS.build("beta_darts", {"decay_scale": 8.0}), plain.cfg)
    values = []
    for epoch in (0, 10, 19):
        steps.start_epoch(epoch)
        values.append(float(steps.penalty().detach()))
    assert values == [0.0, pytest.approx(8.0 * 0.5 * math.log(4), rel=1e-3), pytest.approx(8.0 * 0.95 * math.log(4), rel=1e-3)]


def test_without_penalties_nothing_is_added(make):
    assert float(make().penalty()) == 0.0


def test_the_divergence_of_dirichlets_and_its_gradient(make):
    supernet = scaled(make()).supernet
    alphas = supernet.arch_parameters()
    dirichlet = torch.distributions.Dirichlet
    truth = sum(
        torch.distributions.kl_divergence(dirichlet(F.elu(alpha) + 1.0), dirichlet(torch.ones_like(alpha))).sum() for alpha in alphas
    )
    torch.testing.assert_close(DirichletDivergence(0.3)(supernet, 0.5), 0.3 * truth)
    torch.testing.assert_close(gradients(DirichletDivergence(0.3), supernet), torch.autograd.grad(0.3 * truth, alphas))
    with torch.no_grad():
        for alpha in alphas:
            alpha.zero_()
    assert float(DirichletDivergence(1.0)(supernet, 0.0).detach()) == pytest.approx(0.0, abs=1e-12)
