"""Parts of a method that any method takes in the place of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from darts_core.search.bilevel import ARCH_GRADIENTS, ArchGradient, Exact, FirstOrder, Still, Unrolled
from darts_core.search.derive import SkipLimited
from darts_core.search.method import Method
from darts_core.search.missed import MostMissed
from darts_core.search.ranges import at_least, in_range
from darts_core.search.reinforce import Reinforce
from darts_core.search.relax import softmax_edges
from darts_core.search.select import Selection, TrainedAlone
from darts_core.search.stop import StableRanking
from darts_core.supernet.sampled import Sampled


def with_parts(
    method: Method,
    *,
    arch_gradient: Literal["first", "unrolled", "exact"] | None = None,
    channel_proportion: int | None = None,
    edge_weights: bool | None = None,
    warmup_epochs: int | None = None,
    stable_epochs: int | None = None,
    selection: Literal["perturbation"] | None = None,
    tune_epochs: int | None = None,
    score_by: Literal["accuracy", "loss"] | None = None,
    prune_below: float | None = None,
) -> Method:
    """Return ``method`` with these parts in the place of its own; null leaves a part as it is. They are options of every method.

    ``arch_gradient`` names the gradient of alpha; ``channel_proportion`` lets one channel in so many through the candidates and
    ``edge_weights`` gives edges a softmax of their own (both PC-DARTS, arXiv:1907.05737); ``warmup_epochs`` are those in which the weights
    move alone; the search also ends once the order of the operations has been the same on every edge for ``stable_epochs`` epochs.
    ``selection`` chooses the architecture after the last epoch, ``perturbation`` as in DARTS-PT (arXiv:2108.04392), with ``tune_epochs``
    epochs (null: 5) between two decisions, by what the supernet's accuracy (null) or loss misses most (``score_by``). Operations that
    weigh less than ``prune_below`` after an epoch are not computed any more.
    """
    _check_supernet(method, channel_proportion=channel_proportion, edge_weights=edge_weights)
    parts: dict[str, Any] = {}
    _check_moves(
        method,
        arch_gradient=arch_gradient,
        edge_weights=edge_weights or None,
        warmup_epochs=warmup_epochs,
        stable_epochs=stable_epochs,
        prune_below=prune_below,
    )
    if arch_gradient is not None:
        parts["arch_gradient"] = _gradient(method, arch_gradient)
    if channel_proportion is not None:
        parts["channel_proportion"] = _proportion(method, channel_proportion)
    if edge_weights and isinstance(method.arch_gradient, Reinforce):
        raise ValueError("method.edge_weights must be false or null with REINFORCE, which moves what is drawn: edges are not.")
    if edge_weights is not None:
        parts["relax_edges"] = softmax_edges if edge_weights else None
    if warmup_epochs is not None:
        parts["warmup_epochs"] = at_least(0, "warmup_epochs", warmup_epochs)
    if stable_epochs is not None:
        parts["stop"] = (*method.stop, StableRanking(at_least(1, "stable_epochs", stable_epochs)))
    if prune_below is not None:
        parts["prune_below"] = _limit(method, prune_below)
    if (select := _selection(method, selection, tune_epochs, score_by)) is not None:
        parts["select"] = select
    return replace(method, **parts)


def _gradient(method: Method, name: str) -> ArchGradient:
    if not isinstance(method.arch_gradient, FirstOrder | Unrolled | Exact):
        raise ValueError(f"method.arch_gradient: leave it out, for this method has a gradient of its own. Got '{name}'.")
    if name != "first" and method.draws:
        raise ValueError(
            "method.arch_gradient must be first where each forward pass draws anew, weights of the operations or values on "
            "skip connections that are left out: the second order compares passes that differ in the network's weights alone. "
            f"Got '{name}'."
        )
    return ARCH_GRADIENTS.build(name)


def _proportion(method: Method, proportion: int) -> int:
    if any(phase.channel_proportion is not None for phase in method.phases):
        raise ValueError(f"method.channel_proportion: leave it out, for the phases have their own. Got {proportion}.")
    return at_least(1, "channel_proportion", proportion)


def _check_moves(method: Method, **given: str | float | None) -> None:
    named = [f"method.{key}" for key, value in given.items() if value is not None]
    if named and isinstance(method.arch_gradient, Still):
        raise ValueError(f"{', '.join(named)}: leave it out or set it to null, for this method never moves alpha.")


def _check_supernet(method: Method, **given: int | bool | None) -> None:
    named = [f"method.{key}" for key, value in given.items() if value is not None]
    if named and isinstance(method.select, TrainedAlone):
        raise ValueError(f"{', '.join(named)}: leave it out with method.shared_weights: false, for there is no supernet.")


def _limit(method: Method, below: float) -> float:
    if isinstance(method.relax, Sampled) or method.project is not None:
        raise ValueError(
            "method.prune_below: leave it out, for this method draws its weights or keeps them on the simplex, and what is light may grow "
            f"again. Got {below:g}."
        )
    return in_range(below, "prune_below", above=0.0, below=1.0)


def _selection(method: Method, selection: str | None, tune_epochs: int | None, score_by: str | None) -> Selection | None:
    if selection is None:
        for key, value in {"tune_epochs": tune_epochs, "score_by": score_by}.items():
            if value is not None:
                raise ValueError(f"method.{key} has an effect with method.selection: perturbation alone. Set it to null. Got {value}.")
        return None
    if method.select is not None:
        raise ValueError(f"method.selection: leave it out, for this method has a selection of its own. Got '{selection}'.")
    if isinstance(method.derive, SkipLimited):
        raise ValueError(
            f"method.selection: leave it out: it would choose past method.skip_limit, which has no say in it. Got '{selection}'."
        )
    return MostMissed(tune_epochs=5 if tune_epochs is None else at_least(0, "tune_epochs", tune_epochs), by_loss=score_by == "loss")
