"""Dirichlet samples beside the known moments, and their gradient beside that of the expectation."""

import copy

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.search.dirichlet import DirichletSample, concentrations
from darts_core.search.penalties import DirichletDivergence

ALPHA = torch.tensor([[0.5, -1.0, 0.0, 2.0], [-0.3, 0.2, 1.0, -2.0]], dtype=torch.float64)


def fresh(seed=0):
    return DirichletSample().fresh(torch.Generator().manual_seed(seed))


def many(alpha_EO, count=4000):
    return fresh().sample(alpha_EO.repeat(count, 1)).op_EO.view(count, *alpha_EO.shape)


def test_concentrations_are_elu_plus_one():
    torch.testing.assert_close(concentrations(ALPHA), F.elu(ALPHA) + 1.0)
    assert concentrations(torch.tensor([[-80.0]])).item() > 0.0


def test_samples_have_the_moments_of_the_distribution():
    samples, truth = many(ALPHA), torch.distributions.Dirichlet(concentrations(ALPHA))
    torch.testing.assert_close(samples.sum(-1), torch.ones(4000, 2, dtype=torch.float64))
    torch.testing.assert_close(samples.mean(0), truth.mean, atol=0.02, rtol=0.0)
    torch.testing.assert_close(samples.var(0), truth.variance, atol=0.005, rtol=0.0)
    torch.testing.assert_close(fresh().expected(ALPHA), truth.mean)


@pytest.mark.parametrize("power", [1, 2])
def test_the_gradient_of_the_samples_is_that_of_the_expectation(power):
    """E[sum w * theta^power] in closed form, differentiated, beside the mean of the samples' gradients."""
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    alpha = ALPHA.clone().requires_grad_()
    c = concentrations(alpha)
    total = c.sum(-1, keepdim=True)
    moments = c / total if power == 1 else c * (c + 1.0) / (total * (total + 1.0))
    [truth] = torch.autograd.grad((weights * moments).sum(), alpha)
    [found] = torch.autograd.grad((weights * many(alpha, 20000) ** power).sum(-1).mean(0).sum(), alpha)
    torch.testing.assert_close(found, truth, atol=0.03, rtol=0.05)


def test_concentrations_near_zero_draw_no_nan():
    alpha = torch.full((3, 4), -90.0, requires_grad=True)
    sample = fresh().sample(alpha).op_EO
    assert sample.isfinite().all()
    assert torch.autograd.grad(sample[:, 0].sum(), alpha)[0].isfinite().all()


def test_the_stream_goes_on_where_it_was_saved():
    one, other = fresh(), fresh(1)
    one.sample(ALPHA)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(one.sample(ALPHA).op_EO, other.sample(ALPHA).op_EO)
    assert not torch.equal(one.sample(ALPHA).op_EO, one.sample(ALPHA).op_EO)


def test_evaluation_takes_the_mean():
    relax = fresh().eval()
    assert torch.equal(relax(ALPHA).op_EO, relax.expected(ALPHA))


def test_the_divergence_is_an_option():
    assert METHODS.build("drnas").penalties == ()
    assert METHODS.build("drnas", {"kl_scale": 0.001}).penalties == (DirichletDivergence(0.001),)
    with pytest.raises(ValueError, match=r"method\.kl_scale must be at least 0\. Got -1\."):
        METHODS.build("drnas", {"kl_scale": -1.0})
