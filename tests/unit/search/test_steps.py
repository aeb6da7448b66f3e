import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.metrics import top_k_accuracy
from darts_core.search.bilevel import ARCH_GRADIENTS, SingleLevel


def values(parameters):
    return [p.detach().clone() for p in parameters]


def moved(before, parameters):
    return [not torch.equal(old, p) for old, p in zip(before, parameters, strict=True)]


@pytest.mark.parametrize("order", ARCH_GRADIENTS.names())
def test_each_step_moves_its_own_parameters_and_no_others(make, batch, order):
    steps = make(order)
    for number in range(2):
        alphas, weights = values(steps.supernet.arch_parameters()), values(steps.w)
        steps.arch_step(train=batch(number), valid=batch(number + 10), lr=0.1)
        assert all(moved(alphas, steps.supernet.arch_parameters()))
        assert not any(moved(weights, steps.w))
        alphas = values(steps.supernet.arch_parameters())
        steps.weight_step(batch(number), lr=0.1)
        assert all(moved(weights, steps.w))
        assert not any(moved(alphas, steps.supernet.arch_parameters()))
        assert all(p.grad is None for p in steps.supernet.parameters()), "no gradient is left over for the other step"


@pytest.mark.parametrize("grad_clip", [0.0, 0.05, 5.0])
def test_the_weight_step_is_clipped_sgd_with_momentum_and_decay(make, batch, grad_clip):
    """Three steps against the update rule written out, the buffer included."""
    steps = make(momentum=0.9, weight_decay=0.02, grad_clip=grad_clip)
    twin = copy.deepcopy(steps.supernet)
    w = list(twin.weights().values())
    buffers = [torch.zeros_like(p) for p in w]
    for number, lr in enumerate((0.1, 0.05, 0.2)):
        x, y = batch(number)
        logits = twin(x)
        loss = F.cross_entropy(logits, y)
        grads = torch.autograd.grad(loss, w)
        norm = torch.cat([g.flatten() for g in grads]).norm()
        scale = min(1.0, grad_clip / float(norm + 1e-6)) if grad_clip else 1.0
        with torch.no_grad():
            for p, g, buffer in zip(w, grads, buffers):
                buffer.mul_(0.9).add_(scale * g + 0.02 * p)
                p.sub_(lr * buffer)
        taken = steps.weight_step((x, y), lr=lr)
        torch.testing.assert_close(taken.grad_norm, norm)
        torch.testing.assert_close(taken.loss, loss.detach())
        assert float(taken.accuracy()) == float(top_k_accuracy(logits, y))
        torch.testing.assert_close(values(steps.w), values(w))
    if grad_clip == 0.05:
        assert float(norm) > grad_clip, "the case is one in which clipping matters"


def test_the_arch_step_is_adam_with_the_references_betas(make, batch):
    """Against the update rule written out (Kingma and Ba, arXiv:1412.6980), with decay added to the gradient; never clipped."""
    lr, decay, betas = 3e-3, 1e-2, (0.5, 0.999)
    steps = make(arch_lr=lr, arch_weight_decay=decay, grad_clip=1e-9)
    twin = copy.deepcopy(steps.supernet)
    alphas = twin.arch_parameters()
    first, second = ([torch.zeros_like(alpha) for alpha in alphas] for _ in range(2))
    for t in range(1, 4):
        x, y = batch(t)
        loss = F.cross_entropy(twin(x), y)
        with torch.no_grad():
            for alpha, g, m, v in zip(alphas, torch.autograd.grad(loss, alphas), first, second):
                g = g + decay * alpha
                m.mul_(betas[0]).add_((1.0 - betas[0]) * g)
                v.mul_(betas[1]).add_((1.0 - betas[1]) * g**2)
                alpha.sub_(lr * (m / (1.0 - betas[0] ** t)) / ((v / (1.0 - betas[1] ** t)).sqrt() + 1e-8))
        torch.testing.assert_close(steps.arch_step(train=batch(50), valid=(x, y), lr=0.1), loss.detach())
        torch.testing.assert_close(values(steps.supernet.arch_parameters()), values(alphas))


@pytest.mark.parametrize("order", ARCH_GRADIENTS.names())
def test_a_restored_state_goes_on_alike(make, batch, order):
    one, other = make(order), make(order)
    one.arch_step(train=batch(0), valid=batch(1), lr=0.1)
    one.weight_step(batch(0), lr=0.1)
    other.supernet.load_state_dict(copy.deepcopy(one.supernet.state_dict()))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for steps in (one, other):
        steps.arch_step(train=batch(2), valid=batch(3), lr=0.05)
        steps.weight_step(batch(2), lr=0.05)
    states = one.supernet.state_dict(), other.supernet.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_alphas_do_not_count_in_the_norm_nor_decay_with_the_weights(make):
    steps = make()
    owned = {id(p) for group in steps.w_optimizer.param_groups for p in group["params"]}
    assert owned == {id(p) for p in steps.supernet.weights().values()}
    assert owned.isdisjoint(id(p) for p in steps.supernet.arch_parameters())


def test_every_gradient_sees_the_batches_that_it_should(make, batch):
    """First order reads the validation batch alone; the virtual step also reads the training batch and the learning rate."""
    for order in ARCH_GRADIENTS.names():
        base = step_of_alpha(make(order), batch(0), batch(1), lr=0.5)
        depends = {
            "valid": not torch.equal(base, step_of_alpha(make(order), batch(0), batch(2), lr=0.5)),
            "train": not torch.equal(base, step_of_alpha(make(order), batch(2), batch(1), lr=0.5)),
            "lr": not torch.equal(base, step_of_alpha(make(order), batch(0), batch(1), lr=0.1)),
        }
        assert depends == {"valid": True, "train": order != "first", "lr": order != "first"}, order


def test_alpha_of_a_single_level_moves_by_the_batch_of_the_weights_alone(make, batch):
    def step(train, valid):
        steps = make("first")
        steps.arch_gradient = SingleLevel()
        return step_of_alpha(steps, train, valid, lr=0.1)

    base = step(batch(0), batch(1))
    assert torch.equal(base, step(batch(0), batch(2)))
    assert torch.equal(base, step_of_alpha(make("first"), batch(3), batch(0), lr=0.1)), "the same as dL_valid/dalpha of that batch"
    assert isinstance(METHODS.build("snas").arch_gradient, SingleLevel)


def step_of_alpha(steps, train, valid, *, lr):
    seen = []
    steps.arch_optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: seen.extend(alpha.grad.flatten().clone() for alpha in steps.supernet.arch_parameters())
    )
    steps.arch_step(train=train, valid=valid, lr=lr)
    return torch.cat(seen)


@pytest.mark.parametrize("most", [None, 1e-3, 1e3])
def test_the_gradient_of_alpha_is_cut_to_its_norm_with_the_penalties_in_it(make, batch, most):
    """Against the rule written out: one factor for all matrices of alpha, 1 where the norm is less."""
    steps = make()
    penalty = lambda net, progress: sum((alpha**2).sum() for alpha in net.arch_parameters())  # noqa: E731
    taken = []
    steps.method = dataclasses.replace(steps.method, penalties=(penalty,), arch_grad_clip=most)
    alphas = steps.supernet.arch_parameters()
    loss = F.cross_entropy(steps.supernet(batch(1)[0]), batch(1)[1])
    plain = torch.autograd.grad(loss + penalty(steps.supernet, 0.0), alphas)
    steps.arch_optimizer.step = lambda: taken.extend(values([alpha.grad for alpha in alphas]))
    steps.arch_step(train=batch(0), valid=batch(1), lr=0.1)
    norm = torch.cat([grad.flatten() for grad in plain]).norm()
    factor = 1.0 if most is None else min(1.0, most / float(norm))
    assert (factor < 1.0) == (most == 1e-3)
    for found, grad in zip(taken, plain, strict=True):
        torch.testing.assert_close(found, grad * factor, rtol=1e-3, atol=0.0)  # torch adds 1e-6 to the norm
