"""Options that every method has, and what their values may be."""

import pytest

from darts_core.methods import METHODS
from darts_core.search.bilevel import Exact, FirstOrder, Unrolled
from darts_core.search.perturb import AdversarialPerturbation, RandomPerturbation
from darts_core.search.relax import simplex_edges, softmax_edges
from darts_core.search.stop import SkipLimit, StableRanking

CHANGEABLE = [name for name in METHODS if isinstance(METHODS.build(name).arch_gradient, FirstOrder | Unrolled | Exact)]


@pytest.mark.parametrize("name", CHANGEABLE)
def test_parts_of_any_method_can_be_exchanged(name):
    plain = METHODS.build(name)
    order = "first" if plain.draws else "unrolled"
    method = METHODS.build(
        name, {"arch_gradient": order, "channel_proportion": 2, "edge_weights": True, "warmup_epochs": 3, "stable_epochs": 4}
    )
    assert isinstance(method.arch_gradient, Unrolled if order == "unrolled" else FirstOrder)
    assert method.channel_proportion == 2
    assert method.relax_edges in (softmax_edges, simplex_edges)
    assert method.warmup_epochs == 3
    assert method.stop == (*plain.stop, StableRanking(4))
    assert type(method.relax) is type(plain.relax)
    assert (method.mixed, method.derive, method.arch_optimizer) == (plain.mixed, plain.derive, plain.arch_optimizer)


@pytest.mark.parametrize("order", ["unrolled", "exact"])
@pytest.mark.parametrize("name", [name for name in CHANGEABLE if METHODS.build(name).draws])
def test_weights_that_are_drawn_have_no_second_order(name, order):
    with pytest.raises(
        ValueError, match=rf"method\.arch_gradient(: must be 'first'| must be first where each forward pass draws anew,).* Got '{order}'"
    ):
        METHODS.build(name, {"arch_gradient": order})


@pytest.mark.parametrize("order", ["first", "exact"])
@pytest.mark.parametrize("name", sorted(set(METHODS) - set(CHANGEABLE)))
def test_a_gradient_of_its_own_is_not_exchanged(name, order):
    with pytest.raises(ValueError, match=r"method\.arch_gradient: leave it out"):
        METHODS.build(name, {"arch_gradient": order})


@pytest.mark.parametrize("option", ["warmup_epochs", "stable_epochs"])
def test_where_alpha_never_moves_nothing_waits_for_it(option):
    with pytest.raises(ValueError, match=rf"method\.{option}: leave it out"):
        METHODS.build("random_search", {option: 2})


@pytest.mark.parametrize("name", METHODS.names())
def test_null_leaves_a_part_as_it_is(name):
    own = {key for key, option in METHODS.options(name).items() if option.default is None}
    method, plain = METHODS.build(name, dict.fromkeys(own)), METHODS.build(name)
    assert (method.stop, method.channel_proportion, method.warmup_epochs) == (plain.stop, plain.channel_proportion, plain.warmup_epochs)
    assert type(method.arch_gradient) is type(plain.arch_gradient)


def test_edges_of_pc_darts_can_do_without_weights():
    assert METHODS.build("pc_darts", {"edge_weights": False}).relax_edges is None


def test_gaea_keeps_its_edges_on_the_simplex():
    assert METHODS.build("gaea", {"edge_weights": True}).relax_edges is simplex_edges


def test_perturbations_go_by_name():
    assert isinstance(METHODS.build("smooth_darts").perturb, RandomPerturbation)
    attack = METHODS.build("smooth_darts", {"perturbation": "adversarial", "attack_steps": 3}).perturb
    assert isinstance(attack, AdversarialPerturbation)
    assert attack.steps == 3


def test_p_darts_cuts_the_gradient_of_alpha_as_published():
    assert METHODS.build("p_darts").arch_grad_clip == 5.0
    assert METHODS.build("p_darts", {"arch_grad_clip": None}).arch_grad_clip is None
    assert METHODS.build("darts").arch_grad_clip is None


def test_darts_plus_has_a_limit():
    assert METHODS.build("darts_plus", {"skip_limit": 3, "arch_gradient": "exact"}).stop == (SkipLimit(3),)
    assert isinstance(METHODS.build("darts_plus", {"arch_gradient": "exact"}).arch_gradient, Exact)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fair_darts", {"gate_threshold": 1.0}, r"method\.gate_threshold must be above 0 and below 1\. Got 1\."),
        ("fair_darts", {"zero_one_scale": -1.0}, r"method\.zero_one_scale must be at least 0\. Got -1\."),
        ("beta_darts", {"decay_scale": -0.5}, r"method\.decay_scale must be at least 0\. Got -0\.5\."),
        ("smooth_darts", {"radius_end": 1.5}, r"method\.radius_end must be at least 0 and at most 1\. Got 1\.5\."),
        ("smooth_darts", {"radius_start": -0.1}, r"method\.radius_start must be at least 0 and at most 1\. Got -0\.1\."),
        ("smooth_darts", {"perturbation": "adversarial", "attack_steps": 0}, r"method\.attack_steps must be at least 1\. Got 0\."),
        ("smooth_darts", {"attack_steps": 7}, r"method\.attack_steps has an effect with method\.perturbation: adversarial alone"),
        ("smooth_darts", {"perturbation": "none"}, r"method\.perturbation: must be 'random' or 'adversarial'\. Got 'none'"),
        ("darts_minus", {"skip_weight": -1.0}, r"method\.skip_weight must be at least 0\. Got -1\."),
        ("darts_plus", {"skip_limit": 0}, r"method\.skip_limit must be at least 1\. Got 0\."),
        ("darts", {"stable_epochs": 0}, r"method\.stable_epochs must be at least 1\. Got 0\."),
        ("gaea", {"warmup_epochs": -1}, r"method\.warmup_epochs must be at least 0\. Got -1\."),
        ("beta_darts", {"channel_proportion": 0}, r"method\.channel_proportion must be at least 1\. Got 0\."),
        ("beta_darts", {"arch_gradient": "second"}, r"method\.arch_gradient: must be 'first', 'unrolled' or 'exact'\. Got 'second'"),
        ("proxyless", {"draws": 2}, r"method\.draws has an effect with method\.arch_gradient: reinforce alone\. Set it to null"),
        ("proxyless", {"arch_gradient": "reinforce", "draws": 0}, r"method\.draws must be at least 1\. Got 0\."),
        (
            "proxyless",
            {"arch_gradient": "reinforce", "baseline_decay": 1.0},
            r"method\.baseline_decay must be at least 0 and below 1\. Got 1",
        ),
        ("random_search", {"edge_weights": True}, r"method\.edge_weights: leave it out .*never moves alpha"),
        ("proxyless", {"arch_gradient": "reinforce", "edge_weights": True}, r"method\.edge_weights must be false or null with REINFORCE"),
        ("p_darts", {"arch_grad_clip": 0.0}, r"method\.arch_grad_clip must be above 0\. Got 0\."),
        ("enas", {"skip_weight": -1.0}, r"method\.skip_weight must be at least 0\. Got -1\."),
        ("enas", {"skip_weight": 0.8, "skip_target": 1.0}, r"method\.skip_target must be above 0 and below 1\. Got 1\."),
        ("random_search", {"samples": 0}, r"method\.samples must be at least 1\. Got 0\."),
        ("random_search", {"shared_weights": False, "train_epochs": 0}, r"method\.train_epochs must be at least 1\. Got 0\."),
        ("random_search", {"shared_weights": False, "halving": 1}, r"method\.halving must be at least 2\. Got 1\."),
        ("random_search", {"halving": 3}, r"method\.halving has an effect with method\.shared_weights: false alone"),
        ("random_search", {"rank_by": "training_speed"}, r"method\.rank_by has an effect with method\.shared_weights: false alone"),
        ("random_search", {"train_epochs": 3}, r"method\.train_epochs has an effect with method\.shared_weights: false alone"),
        (
            "random_search",
            {"shared_weights": False, "score_batches": 4},
            r"method\.score_batches has an effect with method\.shared_weights: true alone",
        ),
        (
            "random_search",
            {"shared_weights": False, "channel_proportion": 4, "edge_weights": False},
            r"method\.channel_proportion, method\.edge_weights: leave it out with method\.shared_weights: false",
        ),
        ("random_search", {"shared_weights": False, "selection": "perturbation"}, r"method\.selection: leave it out"),
        ("darts", {"stable_epoch": 3}, r"method\.stable_epoch: not an option of method 'darts' \(did you mean 'stable_epochs'\?\)"),
    ],
)
def test_a_value_out_of_range_names_key_and_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(name, options)


NUMBERS = [
    (name, key) for name in METHODS for key, hint in METHODS.types(name).items() if hint in (float, float | None) and key != "return"
]
FIRST = {
    "resource_scale": {"resource": "macs"},
    "latency_target_ms": {"latency_ms": {}},
    "latency_scale": {"latency_ms": {}},
    "entropy_weight": {"arch_gradient": "reinforce"},
    "baseline_decay": {"arch_gradient": "reinforce"},
    "skip_target": {"skip_weight": 0.5},
}


@pytest.mark.parametrize(("name", "key"), NUMBERS, ids=lambda part: part)
def test_a_number_that_no_float32_can_be_is_refused(name, key):
    needed = {other: value for other, value in FIRST.get(key, {}).items() if other in METHODS.options(name) and name != "enas"}
    with pytest.raises(ValueError, match=rf"method\.{key.removesuffix('_min')}\b.* Got .*1e\+308|method\.{key}: leave it out"):
        METHODS.build(name, {**needed, **({"skip_weight": 0.5} if key == "skip_target" else {}), key: 1e308})
