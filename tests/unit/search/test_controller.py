"""The controller of ENAS: its probabilities beside all architectures of a tiny space, what it draws, and what moves it."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.metrics import count_macs
from darts_core.search.controller import Controller
from darts_core.search.reinforce import Reinforce
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.footprint import estimate_peak_mib
from darts_core.supernet.offer import offers
from darts_core.supernet.shape import CellShape

DARTS = CellShape(nodes=2)
CHAIN = CellShape(nodes=2, inputs=1, kept_edges=None, may_be_none=True, joined_nodes=1)


def controller(shape=DARTS, primitives=("none", "skip_connect", "sep_conv_3x3"), cell_types=("normal",), seed=0, names=None, **options):
    made = Controller(**{"hidden_units": 6, "temperature": 0.5, "tanh_constant": 2.5, **options})
    given = offers(cell_types, primitives, names, edges=len(shape.sources))
    return made.fitted(given, shape, generator=torch.Generator().manual_seed(seed)).double()


def forced(decisions):
    """Choose what was decided."""
    left = iter(decisions)
    return lambda log_SK: next(left)


def every_sequence(policy):
    """Return a rollout of all sequences of decisions, found by asking how many there are of each."""
    sizes = []
    policy.roll(1, lambda log_SK: sizes.append(log_SK.shape[1]) or torch.zeros(1, dtype=torch.long))
    every = torch.tensor(list(itertools.product(*map(range, sizes))))
    return policy.roll(len(every), forced(every.T)), every


@pytest.mark.parametrize(("shape", "expected"), [(DARTS, 4 * 6 * 4), (CHAIN, 3**3)])
def test_the_probabilities_of_all_architectures_sum_to_one(shape, expected):
    policy = controller(shape)
    run, _ = every_sequence(policy)
    assert run.log_prob_S.exp().sum().item() == pytest.approx(1.0)
    assert (run.log_prob_S > -1e6).sum() == expected, "a node's two states differ"
    entropy = (run.log_prob_S.exp() * run.entropy_S).sum()
    assert entropy.item() == pytest.approx(-(run.log_prob_S.exp() * run.log_prob_S.clamp_min(-1e3)).sum().item()), "the chain rule"


@pytest.mark.parametrize("shape", [DARTS, CHAIN])
def test_the_probability_that_was_drawn_is_that_of_teacher_forcing(shape):
    policy = controller(shape, cell_types=("normal", "reduce"))
    drawn = policy.roll(20)
    again = policy.roll(20, forced(drawn.decisions))
    torch.testing.assert_close(again.log_prob_S, drawn.log_prob_S, rtol=0, atol=0)
    torch.testing.assert_close(again.entropy_S, drawn.entropy_S, rtol=0, atol=0)
    alone = [policy.roll(1, forced([d[k : k + 1] for d in drawn.decisions])).log_prob_S for k in range(20)]
    torch.testing.assert_close(torch.cat(alone), drawn.log_prob_S)
    assert all(drawn.chosen(cell, k) == again.chosen(cell, k) for cell in ("normal", "reduce") for k in range(20))
    assert len({tuple(sorted(drawn.chosen("normal", k).items())) for k in range(20)}) > 3


def test_it_draws_by_its_probabilities():
    """Four standard errors, of all 96 architectures."""
    policy = controller(seed=3)
    run, every = every_sequence(policy)
    number_of = {tuple(sequence): k for k, sequence in enumerate(every.tolist())}
    drawn = torch.stack(policy.roll(4000).decisions, dim=1).tolist()
    counts = torch.bincount(torch.tensor([number_of[tuple(sequence)] for sequence in drawn]), minlength=len(every))
    p = run.log_prob_S.exp()
    assert ((counts - 4000 * p).abs() <= 4 * (4000 * p * (1 - p)).sqrt() + 1).all()


def test_an_architecture_has_two_edges_a_node_and_one_operation_on_each():
    policy = controller(CellShape(nodes=3), cell_types=("normal", "reduce"))
    for _ in range(10):
        for weights in policy.draw({}, policy.offers).weights.values():
            assert torch.equal(weights.edge_E.split([2, 3, 4])[2].sum(), torch.tensor(2.0).double())
            assert torch.equal(weights.op_EO.sum(1), weights.edge_E)
            assert (weights.op_EO[:, 0] == 0).all(), "none is no choice"


def test_the_tanh_constant_bounds_every_probability():
    policies = [controller(CHAIN, seed=seed, temperature=1e-8, tanh_constant=1.1) for seed in range(5)]
    least = min(float(edge.probability_SO.detach().min()) for policy in policies for edge in policy.roll(20).edges)
    assert torch.tensor([-1.1, 1.1, 1.1]).softmax(0)[0] - 1e-6 <= least < 0.2
    sharp = controller(CHAIN, temperature=1e-8, tanh_constant=None)
    assert min(float(edge.probability_SO.detach().min()) for edge in sharp.roll(50).edges) < 1e-9


def test_the_logged_probabilities_are_those_of_all_architectures():
    policy = controller(CellShape(nodes=2), seed=5)
    run, _ = every_sequence(policy)
    exact = torch.zeros(5, 3, dtype=torch.float64)
    row_of = {ends: row for row, ends in enumerate(policy.shape.sources)}
    for k, p in enumerate(run.log_prob_S.detach().exp().tolist()):
        for ends, op in run.chosen("normal", k).items() if p else ():
            exact[row_of[ends], op] += p
    exact[:, 0] = 1.0 - exact.sum(1)
    before = policy.get_extra_state()
    found = policy.marginals()["normal"]
    assert torch.equal(policy.get_extra_state(), before), "what is logged takes nothing from what is drawn"
    assert torch.equal(policy.marginals()["normal"], found)
    assert (found - exact).abs().max() < 4 * (0.25 / 256) ** 0.5
    torch.testing.assert_close(found.sum(1), torch.ones(5, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@pytest.fixture
def supernet():
    torch.manual_seed(1)
    space = SPACES.build("nasbench201", {"init_channels": 4, "layers": 3, "nodes": 3, "primitives": ("skip_connect", "nor_conv_1x1")})
    method = METHODS.build("enas", {"hidden_units": 4, "temperature": 0.2})
    return method.supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()


def batch(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randn(12, 2, 8, 8, dtype=torch.float64, generator=generator), torch.randint(3, (12,), generator=generator)


@pytest.mark.parametrize("baseline", [0.0, -1.5])
def test_over_all_architectures_reinforce_is_the_gradient_of_the_expected_reward(supernet, baseline):
    """As in tests/oracle/test_reinforce.py, by all parameters of the LSTM."""
    policy, parameters = supernet.relax, supernet.arch_parameters()
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(10.0)  # to a scale at which decisions hang on those before
    run, every = every_sequence(policy)
    rewards = []
    for k in range(len(every)):
        chosen = torch.tensor([run.chosen("normal", k)[ends] for ends in policy.shape.sources])
        with torch.no_grad(), supernet.weighing({"normal": F.one_hot(chosen, 2).double()}):
            rewards.append(-F.cross_entropy(supernet(batch(1)[0]), batch(1)[1]))
    p = run.log_prob_S.exp()
    expected = torch.autograd.grad(-((p * torch.stack(rewards)).sum() - 0.3 * (p * p.log()).sum()), parameters)
    found = [torch.zeros_like(parameter) for parameter in parameters]
    for sequence, probability in zip(every, p.detach()):
        gradient = Reinforce(reward="loss", entropy_weight=0.3)
        gradient.load_state_dict({"total": torch.tensor(baseline), "weight": torch.tensor(1.0)})
        choose = forced(sequence.unsqueeze(1))
        policy._drawn = choose
        gradient(supernet, F.cross_entropy, train=batch(0), valid=batch(1), inner=None)
        for total, parameter in zip(found, parameters):
            total += probability * parameter.grad
    for mine, theirs in zip(found, expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
    assert max(float(each.abs().max()) for each in expected) > 1e-2


def test_the_controller_is_no_weight_and_all_of_it_is_saved(supernet):
    own = dict(supernet.relax.named_parameters())
    assert own
    assert all(f"relax.{name}" in supernet.state_dict() for name in own)
    assert "relax._extra_state" in supernet.state_dict()
    assert {id(p) for p in supernet.arch_parameters()} == {id(p) for p in own.values()}
    assert not {id(p) for p in supernet.weights().values()} & {id(p) for p in own.values()}
    assert not any(name.startswith("relax") for name in supernet.weights())


def test_what_a_step_takes_is_known_ahead(supernet):
    """On the meta device, where nothing can be drawn, and with the hooks of the counter of operations."""
    before = supernet.relax.get_extra_state()
    assert estimate_peak_mib(supernet, (8, 2, 8, 8)) > 0.0
    assert count_macs(supernet, input_shape=(2, 8, 8)) > 0
    assert torch.equal(supernet.relax.get_extra_state(), before)
    space = SPACES.build("darts_cnn", {"init_channels": 4, "layers": 3})
    peaks = [
        estimate_peak_mib(METHODS.build(name).supernet(space, in_channels=3, num_classes=4, generator=torch.Generator()), (8, 3, 16, 16))
        for name in ("darts", "enas")
    ]
    assert peaks[1] < 0.5 * peaks[0], "one operation on two edges a node"


def test_its_numbers_take_nothing_from_the_network_s(supernet):
    space = SPACES.build("nasbench201", {"init_channels": 4, "layers": 3, "nodes": 3, "primitives": ("skip_connect", "nor_conv_1x1")})
    torch.manual_seed(1)
    other = METHODS.build("darts").supernet(space, in_channels=2, num_classes=3, generator=torch.Generator().manual_seed(0)).double()
    assert all(torch.equal(value, other.weights()[name]) for name, value in supernet.weights().items())


def test_each_weight_step_trains_the_child_that_it_draws(supernet):
    supernet.train()
    steps = Bilevel(supernet, METHODS.build("enas"), SearchConfig(weight_decay=0.0))
    paths = []
    for number in range(6):
        chosen = copy.deepcopy(supernet.relax).roll(1).chosen("normal")
        before = {name: p.detach().clone() for name, p in supernet.weights().items() if name.startswith("cells.0.edges")}
        steps.w_optimizer.state.clear()
        steps.weight_step(batch(number), lr=0.1)
        moved = {name for name, old in before.items() if not torch.equal(old, supernet.weights()[name])}
        edges = {int(name.split(".")[3]) for name in moved}
        assert edges == {row for row, ends in enumerate(supernet.shape.sources) if chosen[ends] == 1}, "those with a convolution"
        paths.append(tuple(sorted(chosen.items())))
    assert len(set(paths)) > 1


def test_it_learns_what_is_rewarded(supernet):
    gradient = Reinforce(draws=4)
    gradient._outcome = lambda net, loss, valid, drawn: (torch.zeros(()), drawn.weights["normal"].op_EO[:, 1].mean())
    optimizer = torch.optim.Adam(supernet.arch_parameters(), lr=0.02)
    before = supernet.mixture()["normal"][:, 1].mean()
    for _ in range(60):
        gradient(supernet, F.cross_entropy, train=batch(0), valid=batch(1), inner=None)
        optimizer.step()
    assert supernet.mixture()["normal"][:, 1].mean() > max(0.9, before + 0.2)
