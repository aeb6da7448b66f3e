"""Every method in every space: three steps, what they move, and a genotype that can be built."""

import json
import typing
from pathlib import Path

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data.windows import Window
from darts_core.genotype import Genotype
from darts_core.methods import METHODS
from darts_core.nets.dropout import Dropout
from darts_core.search.bilevel import Exact, FirstOrder, Unrolled
from darts_core.search.reinforce import Reinforce
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.spaces.darts_rnn import RecurrentSpace

NEEDED = {("proxyless", "reward"): {"arch_gradient": "reinforce"}}  # what a choice has no effect without
SMALL = {
    "init_channels": 4,
    "layers": 3,
    "nodes": 2,
    "hidden": 6,
    "search_space": str(Path(__file__).with_name("two_layers.json")),
}
SMALLER = {"s1": {"nodes": 1}}
CLASSES = 4

SAME_SKELETON = ("darts_wide", "s1", "s2", "s3", "s4")  # as darts_cnn, whose every option is crossed with every method
OTHER_WORDS = ("darts_wide", "s2", "s3", "s4")  # and the same edges, with other operations
FOR_IMAGES = {"pc_darts", "darts_minus", "darts_plus", "p_darts"}  # tests/unit/spaces/test_darts_rnn.py has what they are told


def choices(registry, name):
    """The defaults, then every other word of every option that is a choice between words, one option at a time."""
    hints, options = registry.types(name), registry.options(name)
    words = [(key, word) for key, option in options.items() for word in words_of(hints[key]) if word != option.default]
    return [{}, *({**NEEDED.get((name, key), {}), key: word} for key, word in words)]


def words_of(hint):
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return [word for part in typing.get_args(hint) for word in words_of(part)] if type(None) in typing.get_args(hint) else []


def combines(method, options):
    """Whether a crossing has a meaning; tests/unit/methods/test_options.py has those that are refused."""
    plain = METHODS.build(method)
    if {"selection", "score_by", "rank_by"} & {*options}:
        return False  # chooses after the last step, or without a supernet
    if "arch_gradient" in options and not isinstance(plain.arch_gradient, FirstOrder | Unrolled | Exact):
        return False
    return not (plain.draws and options.get("arch_gradient") in ("unrolled", "exact"))


CASES = [
    pytest.param(method, m, space, s, id="-".join([method, *m.values(), space, *s.values()]))
    for method in METHODS
    for m in choices(METHODS, method)
    for space in SPACES
    for s in (choices(SPACES, space) if space not in SAME_SKELETON else [{}])
    if (not m or not s) and combines(method, m)
    if space not in OTHER_WORDS or (method == "darts" and not m)
    if space != "darts_rnn" or (method not in FOR_IMAGES and not {"resource"} & {*m})
]


def build_space(name, options):
    small = {key: value for key, value in SMALL.items() if key in SPACES.options(name)}
    return SPACES.build(name, {**small, **SMALLER.get(name, {}), **options})


def batch(number, space):
    generator = torch.Generator().manual_seed(number)
    if isinstance(space, RecurrentSpace):
        tokens = torch.randint(CLASSES, (7, 3), generator=generator)
        return Window(tokens[:-1]), tokens[1:].flatten()
    return torch.randn(6, 3, 16, 16, generator=generator), torch.randint(CLASSES, (6,), generator=generator)


def discrete(genotype, space):
    """The network of a genotype, and what it makes of a batch."""
    if isinstance(space, RecurrentSpace):
        network = space.network(genotype, num_tokens=CLASSES, width=4, dropout=Dropout(), generator=torch.Generator())
        return network, network(batch(0, space)[0].tokens_TB, network.first_state(3)).logits_NV
    network = space.network(genotype, in_channels=3, num_classes=CLASSES, init_channels=2, layers=space.layers)
    return network, network(batch(0, space)[0])


@pytest.mark.parametrize(("method", "method_options", "space", "space_options"), CASES)
def test_three_steps_and_a_genotype(method, method_options, space, space_options):
    torch.manual_seed(0)
    method, space = METHODS.build(method, method_options), build_space(space, space_options)
    channels = CLASSES if isinstance(space, RecurrentSpace) else 3
    supernet = method.supernet(space, in_channels=channels, num_classes=CLASSES, generator=torch.Generator().manual_seed(0))
    steps = Bilevel(supernet, method, SearchConfig())
    alphas, weights = supernet.arch_parameters(), list(supernet.weights().values())
    felt = []
    for number in range(3):
        if not method.is_still(method.warmup_epochs):
            felt.append(check_arch_step(steps, number, alphas, weights, space))
        before = [p.detach().clone() for p in alphas], [p.detach().clone() for p in weights]
        taken = steps.weight_step(batch(number, space), lr=0.025)
        assert taken.loss.isfinite()
        assert taken.grad_norm.isfinite()
        assert all(torch.equal(old, p) for old, p in zip(before[0], alphas)), "the weight step moves no alpha"
        assert any(not torch.equal(old, p) for old, p in zip(before[1], weights)), "but weights"
    # Six images may all be wrong, which is no reward.
    assert all(felt) or (isinstance(method.arch_gradient, Reinforce) and any(felt)), "the alphas feel the loss"
    check_genotype(
        method.derive(
            supernet.mixture(), primitives=supernet.primitives, shape=space.shape, space=space.name, edge_E=supernet.edge_mixture()
        ),
        space,
    )


def check_arch_step(steps, number, alphas, weights, space):
    before = [p.detach().clone() for p in alphas], [p.detach().clone() for p in weights]
    gradients = []
    hook = steps.arch_optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs, seen=gradients: seen.extend(alpha.grad for alpha in alphas)
    )
    loss = steps.arch_step(train=batch(number, space), valid=batch(number + 10, space), lr=0.025)
    hook.remove()
    assert loss.isfinite()
    assert all(grad is not None and grad.isfinite().all() for grad in gradients)
    assert any(not torch.equal(old, p) for old, p in zip(before[0], alphas)), "the arch step moves the alphas"
    assert all(torch.equal(old, p) for old, p in zip(before[1], weights)), "and no weight"
    return any(bool(grad.any()) for grad in gradients)


def check_genotype(genotype, space):
    space.check(genotype)
    assert Genotype.from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype
    assert space.shape.may_be_none or all(edge.op != "none" for cell in genotype.cells.values() for _, edge in cell.edges)
    network, logits = discrete(genotype, space)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_draws_genotypes_that_it_can_build(name):
    space = build_space(name, {})
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        check_genotype(space.random_genotype(generator), space)
    assert space.num_cells() > 1


@pytest.mark.parametrize("registry", [METHODS, SPACES], ids=lambda registry: registry.kind)
def test_every_entry_says_what_it_is_and_where_it_comes_from(registry):
    for name in registry:
        assert registry.summary(name)
        assert "arXiv" in registry.summary(name) or "et al." in registry.summary(name)
