"""The rate of skip connections: its gradient beside all architectures of a tiny macro space, and where it leads alone."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from darts_core.components import build_method, build_space, cross_check
from darts_core.config import Config
from darts_core.methods import METHODS
from darts_core.search.reinforce import Reinforce
from darts_core.search.skip_rate import SkipRate
from darts_core.spaces import SPACES

SPACE = SPACES.build("enas_macro", {"init_channels": 2, "layers": 3, "primitives": ["fit_conv_3x3", "fit_max_pool_3x3"]})
SIZES = [2, 2, 2, 2, 2, 2]  # an operation for each of 3 layers, 0, 1 and 2 skip connections, in the order in which they are decided
PATHS = torch.tensor(list(itertools.product(range(2), repeat=len(SIZES))))


@pytest.fixture
def policy():
    fresh = METHODS.build("enas", {"hidden_units": 5, "temperature": 0.3}).relax
    made = fresh.fitted(SPACE.offers(), SPACE.shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(6.0)  # so that probabilities differ
    return made


def decided(path, every):
    """Choose what ``path`` says, 0 or 1 among the two that each decision allows; note the probabilities of the second of them."""
    left = iter(path)

    def choose(log_SK):
        allowed = (log_SK[0] > -1e8).nonzero().flatten()
        assert len(allowed) == 2
        every.append(allowed.tolist())
        return allowed[next(left)].unsqueeze(0)

    return choose


def reward_of(path):
    return torch.sin(3.0 * path.double() @ torch.arange(1.0, 1.0 + len(path), dtype=torch.float64))


def rolled(policy, path):
    run = policy.roll(1, decided(path, []))
    return run, policy._skips(run)


def truth(policy, rate, target):
    """Differentiate the expected reward less the penalty over all 64 architectures."""
    objective = torch.zeros((), dtype=torch.float64)
    for path in PATHS:
        run, _ = rolled(policy, path)
        layers = {}
        for edge in run.edges:
            own = edge.probability_SO[0]
            if edge.src.item() != edge.dst - 1:  # not the layer's own operation
                layers.setdefault(edge.dst, []).append(own[1])
        assert sorted(map(len, layers.values())) == [1, 2]
        wanted = Bernoulli(torch.tensor(target, dtype=torch.float64))
        divergence = torch.stack([sum(kl_divergence(Bernoulli(p), wanted) for p in own) for own in layers.values()]).mean()
        objective = objective + run.log_prob_S[0].exp() * (reward_of(path) - rate * divergence)
    return torch.autograd.grad(-objective, list(policy.parameters()), allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("rate", "target"), [(0.8, 0.4), (0.3, 0.7)])
def test_over_all_architectures_the_estimate_is_the_gradient_of_reward_less_penalty(policy, rate, target):
    alphas = list(policy.parameters())
    found = [torch.zeros_like(alpha) for alpha in alphas]
    for path in PATHS:
        run, skips = rolled(policy, path)
        drawn = SimpleNamespace(log_prob=run.log_prob_S[0], entropy=run.entropy_S[0], skips=skips)
        gradient = Reinforce(skip_rate=SkipRate(weight=rate, target=target))
        gradient._outcome = lambda net, loss, valid, drawn, path=path: (torch.zeros(()), reward_of(path))
        gradient.load_state_dict({"total": torch.tensor(0.5), "weight": torch.tensor(1.0)})
        probability = run.log_prob_S[0].exp().item()
        gradient(SimpleNamespace(drawn=lambda drawn=drawn: drawn, arch_parameters=lambda: alphas), None, train=None, valid=None, inner=None)
        for total, alpha in zip(found, alphas):
            total += probability * alpha.grad
    for total, expected in zip(found, truth(policy, rate, target)):
        torch.testing.assert_close(total, expected, rtol=1e-9, atol=1e-12)
    without = truth(policy, 0.0, target)
    assert max((one - other).abs().max() for one, other in zip(found, without)) > 1e-3, "the penalty counts"


def test_alone_it_leads_to_the_rate(policy):
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    rate = SkipRate(weight=0.8, target=0.4)
    for _ in range(150):
        drawn = policy.draw({}, policy.offers)
        optimizer.zero_grad()
        rate(drawn.skips).backward()
        optimizer.step()
    with torch.no_grad():
        found = torch.cat([torch.cat(policy.draw({}, policy.offers).skips) for _ in range(40)])
    assert (found - 0.4).abs().max() < 0.05


def test_at_its_target_it_costs_nothing_and_certainty_is_finite():
    rate = SkipRate(weight=0.8, target=0.4)
    assert rate([torch.full((3,), 0.4, dtype=torch.float64)]).item() == pytest.approx(0.0, abs=1e-12)
    sure = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert rate([sure]).item() == pytest.approx(0.8 * (torch.log(torch.tensor(1 / 0.6)) + torch.log(torch.tensor(1 / 0.4))).item())


def test_it_is_refused_where_layers_have_no_skip_connections_to_choose():
    method = {"name": "enas", "skip_weight": 0.8}
    values = {"data": {"name": "digits"}, "space": {"name": "nasbench201", "layers": 3}, "method": method}
    faults = cross_check(Config.model_validate(values), only_search=True)
    assert faults == [
        "method.skip_weight must be 0 with space.name: nasbench201, where no edge is a choice between a skip connection and none. Got 0.8."
    ]
    macro = Config.model_validate({**values, "space": {"name": "enas_macro"}})
    assert cross_check(macro, only_search=True) == []
    assert build_method(macro).arch_gradient.skip_rate == SkipRate(weight=0.8, target=0.4)
    assert build_space(macro).name == "enas_macro"
    with pytest.raises(ValueError, match=r"method\.skip_target has an effect with method\.skip_weight above 0 alone"):
        METHODS.build("enas", {"skip_target": 0.4})


@pytest.mark.parametrize("logit", [-100.0, 18.0, 100.0])
def test_a_certain_choice_has_a_finite_gradient(logit):
    x = torch.tensor([logit, 0.0], requires_grad=True)
    SkipRate(weight=0.8, target=0.4)([x.softmax(0)[:1]]).backward()
    assert x.grad.isfinite().all()
