"""Perturbed weight steps: what the attack is worth, what it may move, and that alpha and the arch step know nothing of it."""

import copy

import pytest
import torch
import torch.nn.functional as F

from darts_core.methods import METHODS
from darts_core.search.bilevel import ARCH_GRADIENTS
from darts_core.search.perturb import AdversarialPerturbation, Radius, RandomPerturbation, random_point
from darts_core.search.steps import Bilevel

RADIUS = Radius(0.03, 0.3)
KINDS = {"random": RandomPerturbation(RADIUS), "adversarial": AdversarialPerturbation(RADIUS, 7)}


@pytest.fixture
def trained(make, batch):
    """A supernet after a few steps, with alphas at which the operations differ."""
    steps = make()
    with torch.no_grad():
        for alpha in steps.supernet.arch_parameters():
            alpha.mul_(500.0)
    for number in range(4):
        steps.weight_step(batch(number), lr=0.1)
    return steps


def loss_at(supernet, point, images):
    supernet.eval()
    with torch.no_grad(), supernet.weighing(point):
        return float(F.cross_entropy(supernet(images[0]), images[1]))


def clean(supernet):
    return {cell: op_EO.detach() for cell, op_EO in supernet.op_weights().items()}


@pytest.mark.parametrize("seed", range(10))
def test_the_attack_raises_the_loss_of_the_given_batch_above_a_random_ones(trained, batch, seed):
    """A published implementation has the sign wrong, and another attacks noise in place of the batch."""
    supernet, images = trained.supernet, batch(seed)
    generator = torch.Generator().manual_seed(seed)
    adversarial = KINDS["adversarial"](supernet, F.cross_entropy, images, progress=0.2, generator=generator)
    generator.manual_seed(seed)
    random = KINDS["random"](supernet, F.cross_entropy, images, progress=0.2, generator=generator)
    before, hit, by_chance = (loss_at(supernet, point, images) for point in (clean(supernet), adversarial, random))
    assert hit > before
    assert hit > by_chance


def test_the_attack_is_on_this_batch(trained, batch):
    points = [
        KINDS["adversarial"](trained.supernet, F.cross_entropy, batch(number), progress=0.2, generator=torch.Generator().manual_seed(0))
        for number in (0, 1)
    ]
    assert any(not torch.equal(points[0][cell], points[1][cell]) for cell in points[0])
    for number in (0, 1):
        own, other = (loss_at(trained.supernet, point, batch(number)) for point in (points[number], points[1 - number]))
        assert own > other


def test_of_all_points_on_the_way_the_worst_is_taken(trained, batch):
    """A loss that is highest at the clean weights, and one that is highest at the third point, where the steps go on."""
    images, seen = batch(0), []
    before = loss_at(trained.supernet, clean(trained.supernet), images)

    def peak(scores, targets):
        return -(F.cross_entropy(scores, targets) - before).square()

    def third(scores, targets):
        seen.append({cell: op_EO.detach().clone() for cell, op_EO in ((c, w.op_EO) for c, w in trained.supernet._imposed.items())})
        return F.cross_entropy(scores, targets) + (100.0 if len(seen) == 3 else 0.0)

    for loss in (peak, third):
        found = KINDS["adversarial"](trained.supernet, loss, images, progress=0.5, generator=torch.Generator().manual_seed(0))
        expected = clean(trained.supernet) if loss is peak else seen[2]
        assert all(torch.equal(op_EO, expected[cell]) for cell, op_EO in found.items())
    assert len(seen) == 9, "the clean weights, a random point, and seven steps from there"


def test_one_step_is_the_sign_of_the_gradient(trained, batch):
    """From the clean weights, with a radius that clips nothing, against the update written out."""
    supernet, images = trained.supernet, batch(3)
    radius = 1e-4
    generator = torch.Generator().manual_seed(5)
    start = random_point(clean(supernet), radius, generator)
    leaves = {cell: op_EO.clone().requires_grad_() for cell, op_EO in start.items()}
    supernet.eval()
    with supernet.weighing(leaves):
        grads = torch.autograd.grad(F.cross_entropy(supernet(images[0]), images[1]), list(leaves.values()))
    expected = {}
    for (cell, base), grad in zip(clean(supernet).items(), grads):
        moved = torch.minimum(torch.maximum(start[cell] + 2.0 * radius * grad.sign(), base - radius), base + radius).clamp(0.0, 1.0)
        expected[cell] = moved / moved.sum(1, keepdim=True)
    attack = AdversarialPerturbation(Radius(radius, radius), 1)
    found = attack(supernet, F.cross_entropy, images, progress=0.0, generator=torch.Generator().manual_seed(5))
    for cell in expected:
        torch.testing.assert_close(found[cell], expected[cell])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_weights_stay_on_the_simplex_and_within_the_radius_ahead_of_the_normalisation(trained, batch, kind, progress):
    supernet, radius = trained.supernet, RADIUS.at(progress)
    point = KINDS[kind](supernet, F.cross_entropy, batch(0), progress=progress, generator=torch.Generator().manual_seed(1))
    for cell, base in clean(supernet).items():
        torch.testing.assert_close(point[cell].sum(1), torch.ones(len(base), dtype=base.dtype))
        assert point[cell].min() >= 0.0
        low, high = (base - radius).clamp_min(0.0), (base + radius).clamp_max(1.0)
        # Some sum between those of the lowest and the highest weights divides what lies between them.
        assert bool((point[cell] <= high / low.sum(1, keepdim=True).clamp_min(1e-12) + 1e-9).all())
        assert not torch.equal(point[cell], base)


def test_gates_keep_the_sum_that_they_have(make, batch):
    steps = make()
    steps.supernet.relax = METHODS.build("fair_darts").relax
    point = KINDS["random"](steps.supernet, F.cross_entropy, batch(0), progress=0.5, generator=torch.Generator().manual_seed(1))
    for cell, base in clean(steps.supernet).items():
        torch.testing.assert_close(point[cell].sum(1), base.sum(1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_step_is_that_of_the_perturbed_weights_and_restores_alpha_to_the_bit(trained, batch, kind):
    images = batch(7)
    method = METHODS.build("smooth_darts", {"perturbation": kind})
    steps = Bilevel(trained.supernet, method, trained.cfg, generator=torch.Generator().manual_seed(2))
    steps.start_epoch(10)
    alphas = [alpha.detach().clone() for alpha in steps.supernet.arch_parameters()]
    twin = copy.deepcopy(steps.supernet)
    point = method.perturb(twin, F.cross_entropy, images, progress=10 / 50, generator=torch.Generator().manual_seed(2))
    twin.train()
    with twin.weighing(point):
        loss = F.cross_entropy(twin(images[0]), images[1])
    assert torch.equal(steps.weight_step(images, lr=0.1).loss, loss.detach())
    assert all(torch.equal(old, alpha) and alpha.requires_grad for old, alpha in zip(alphas, steps.supernet.arch_parameters()))
    assert steps.supernet.training
    with torch.no_grad():
        torch.testing.assert_close(steps.supernet(images[0]), copy.deepcopy(steps.supernet)(images[0]))


def test_the_attack_leaves_no_trace_in_the_supernet(trained, batch):
    supernet = trained.supernet.train()
    before = copy.deepcopy(supernet.state_dict())
    KINDS["adversarial"](supernet, F.cross_entropy, batch(0), progress=0.5, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(before[key], value) for key, value in supernet.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in supernet.parameters())
    assert supernet.training


@pytest.mark.parametrize("order", ARCH_GRADIENTS.names())
def test_the_arch_step_is_clean(make, batch, order):
    plain, other = make(order), make(order)
    perturbed = Bilevel(other.supernet, METHODS.build("smooth_darts", {"arch_gradient": order}), other.cfg)
    for steps in (plain, perturbed):
        steps.arch_step(train=batch(0), valid=batch(1), lr=0.1)
    for one, two in zip(plain.supernet.arch_parameters(), perturbed.supernet.arch_parameters()):
        assert torch.equal(one, two)
    taken = [steps.weight_step(batch(0), lr=0.1).loss for steps in (plain, perturbed)]
    assert not torch.equal(*taken)


def test_the_radius_grows_along_the_search():
    assert [RADIUS.at(progress) for progress in (0.0, 0.5, 1.0)] == [0.03, pytest.approx(0.165), pytest.approx(0.3)]


def test_noise_is_uniform_within_the_radius():
    base = {"normal": torch.full((400, 8), 0.5)}
    moved = random_point(base, 0.1, torch.Generator().manual_seed(0))["normal"]
    raw = moved / moved.sum(1, keepdim=True)  # the sums are those of the base, 4
    assert float(raw.std() * 8.0) == pytest.approx(0.2 / 12**0.5 / 0.5, rel=0.1)
    assert torch.equal(moved, random_point(base, 0.1, torch.Generator().manual_seed(0))["normal"])
