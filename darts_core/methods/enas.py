"""ENAS."""

from __future__ import annotations

from darts_core.methods import METHODS
from darts_core.search.controller import Controller
from darts_core.search.method import Method
from darts_core.search.ranges import at_least, in_range
from darts_core.search.reinforce import Reinforce, Reward
from darts_core.search.select import BestOfDrawn
from darts_core.search.skip_rate import SkipRate


@METHODS.register("enas")
def enas(
    *,
    hidden_units: int = 100,
    temperature: float = 5.0,
    tanh_constant: float | None = 2.5,
    reward: Reward = "accuracy",
    entropy_weight: float = 1e-4,
    baseline_decay: float = 0.99,
    draws: int = 1,
    skip_weight: float = 0.0,
    skip_target: float | None = None,
    samples: int = 100,
    score_batches: int = 8,
) -> Method:
    """ENAS (Pham et al., ICML 2018, arXiv:1802.03268): an LSTM draws the architectures that share weights, and learns by REINFORCE.

    Each weight step trains an architecture that the controller draws; each arch step moves the controller by the ``reward`` of
    ``draws`` on a validation batch. After the last epoch the best of ``samples`` that it draws is taken, by the accuracy on
    ``score_batches`` validation batches. Logits are ``tanh_constant * tanh(logits / temperature)``. The published search has arch_lr
    3.5e-3, arch_weight_decay 0 and 150 epochs of 300 draws (melodyguan/enas, src/cifar10). In enas_macro ``skip_weight`` (published:
    0.8) times the divergence of the probabilities of skip connections from ``skip_target`` (null: 0.4, as published) is taken off the
    reward; temperature 5 and tanh constant 2.5 are recalled [M], not checked against the paper.
    """
    if skip_target is not None and skip_weight == 0.0:
        raise ValueError(f"method.skip_target has an effect with method.skip_weight above 0 alone. Set it to null. Got {skip_target:g}.")
    rate = SkipRate(
        weight=in_range(skip_weight, "skip_weight", at_least=0.0),
        target=0.4 if skip_target is None else in_range(skip_target, "skip_target", above=0.0, below=1.0),
    )
    return Method(
        relax=Controller(
            hidden_units=at_least(1, "hidden_units", hidden_units),
            temperature=in_range(temperature, "temperature", above=0.0),
            tanh_constant=None if tanh_constant is None else in_range(tanh_constant, "tanh_constant", above=0.0),
        ),
        arch_gradient=Reinforce(
            reward=reward,
            entropy_weight=entropy_weight,
            baseline_decay=baseline_decay,
            draws=draws,
            skip_rate=rate if skip_weight else None,
        ),
        select=BestOfDrawn(samples=at_least(1, "samples", samples), batches=at_least(1, "score_batches", score_batches)),
    )
