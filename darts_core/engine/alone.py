"""Search without a supernet: architectures that are each trained by themselves, and the best of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from darts_core.engine.loop import DivergedError, Log, TrainingError, no_log
from darts_core.engine.rank_disorder import draw_distinct
from darts_core.engine.search_result import SearchResult
from darts_core.engine.training import Trained
from darts_core.engine.watch import cell_metrics
from darts_core.genotype import Genotype
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.progress import Progress
from darts_core.search.method import Method
from darts_core.spaces.space import Space
from darts_core.supernet.policy import path_of

Row = dict[str, Any]
TrainAlone = Callable[[Genotype, int], Trained]
"""(architecture, its number from 0) -> it trained from scratch, on from where a checkpoint has it."""

LOG = logging.getLogger(__name__)
KEPT = ("train_loss", "train_acc", "train_ppl", "valid_loss", "valid_acc", "valid_ppl")


def state_name(number: int) -> str:
    """Return what the state of an architecture (from 0) is called while it is trained."""
    return f"candidate_{number}"


def search_alone(
    method: Method,
    *,
    space: Space,
    rounds: Sequence[tuple[int, int]],
    train: Callable[[int], TrainAlone],
    generator: torch.Generator,
    rank_by: str = "validation",
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
) -> SearchResult:
    """Draw different architectures, train one after the other, and return the best in its last epoch: on held-out data, or, where they
    are ranked by ``training_speed``, of the lowest training loss.

    ``rounds`` are numbers of architectures and of epochs: the best of a round go through to the next, trained from scratch again by what
    ``train`` returns for its epochs. The history has a row for each training, with the number of the ``architecture`` from 1, in the order
    drawn, and ``trained_epochs``: loss and accuracy (of a text perplexity) of its last epoch, and the operations of its cells; the costs,
    ``architecture_s`` and so on, are those of the whole training. One whose training diverges is ``diverged``, has no loss, and comes last.
    Go on from ``checkpoint`` where it holds a state. Raise ``ValueError`` where the space has fewer architectures, ``TrainingError`` where
    all of a round diverge or the device's memory is full.
    """
    genotypes = draw_distinct(space, rounds[0][0], generator=generator, key="method.samples")
    state = (None if checkpoint is None else checkpoint.load("search")) or {"history": [], "costs": []}
    history, costs = state["history"], state["costs"]
    trainings = sum(count for count, _ in rounds)
    lengths = [epochs for count, epochs in rounds for _ in range(count)]
    unit = "architecture" if len(rounds) == 1 else "training"
    reporter = Progress("search", trainings, mode=progress, done=len(history), unit=unit, sizes=lengths)
    drawn = []
    for number, (place, epochs) in enumerate(_in_turn(rounds, history, rank_by)):
        drawn.append(place)
        if number < len(history):
            continue
        row, spent = _outcome(train(epochs), genotypes[place], number, place + 1)
        known = {"architecture": place + 1, "trained_epochs": epochs, "diverged": int(not row)}
        history.append({**known, **row, **cell_metrics(genotypes[place], space)})
        costs.append({"architecture": place + 1, **_whole_cost(spent)})
        if checkpoint is not None:
            checkpoint.save("search", {"history": history, "costs": costs})
            checkpoint.discard(state_name(number))
        log({**history[-1], **costs[-1]}, number + 1)
        reporter.epoch(row)
    reporter.close()
    last_round = trainings - rounds[-1][0]
    best = last_round + _best(history[last_round:], 1, rank_by)[0]
    where = "by its training loss" if rank_by == "training_speed" else "on held-out data"
    LOG.info("search: architecture %d of %d is the best %s, each trained alone.", drawn[best] + 1, len(genotypes), where)
    offers, like = space.offers(), torch.zeros(())
    op_weights = {
        cell_type: path_of(cell, offer=offers[cell_type], shape=space.shape, like=like).op_EO
        for cell_type, cell in genotypes[drawn[best]].cells.items()
    }
    return SearchResult(
        genotype=method.derived(op_weights, primitives=space.primitives, shape=space.shape, space=space.name),
        history=history,
        alphas=[],
        costs=costs,
        ranks=[],
        selection=None,
        computed={"trained": f"{len(genotypes)} architectures, each alone"},
        stopped=None,
        op_weights=op_weights,
        edge_weights={},
        supernet_state={},
        chosen=best,
    )


def _in_turn(rounds: Sequence[tuple[int, int]], history: Sequence[Mapping[str, float]], rank_by: str) -> Iterator[tuple[int, int]]:
    """Yield which architecture is to be trained, and for how many epochs; ``history`` must have all rows of a round by its end."""
    running, before = list(range(rounds[0][0])), 0
    for count, epochs in rounds:
        if before:
            running = [running[place] for place in _best(history[before - len(running) : before], count, rank_by)]
        yield from ((place, epochs) for place in running)
        before += count


def _best(rows: Sequence[Mapping[str, float]], count: int, rank_by: str) -> list[int]:
    """Return the places of the best of a round, the best first; of equals the first. Raise ``TrainingError`` where there is none."""
    if all(row["diverged"] for row in rows):
        raise TrainingError(f"The training of all {len(rows)} architectures diverged. Lower search.lr or change search.grad_clip.")
    return sorted(range(len(rows)), key=lambda place: _score(rows[place], rank_by), reverse=True)[:count]


def _outcome(train: TrainAlone, genotype: Genotype, number: int, architecture: int) -> tuple[Row, Sequence[Mapping[str, float]]]:
    """Train one architecture; return what is kept of its last epoch, nothing where a loss is no number, and the costs of its epochs."""
    try:
        trained = train(genotype, number)
    except DivergedError as error:
        LOG.warning("search: architecture %d comes last. %s", architecture, error)
        return {}, error.costs
    last = trained.history[-1]
    if not math.isfinite(last["valid_loss"]):
        LOG.warning(
            "search: architecture %d comes last. Its validation loss is %s: the training diverged.", architecture, last["valid_loss"]
        )
        return {}, trained.costs
    return {name: last[name] for name in KEPT if name in last}, trained.costs


def _score(row: Mapping[str, float], rank_by: str) -> tuple[float, float]:
    """Of the highest accuracy, of these of the lowest loss; of a text by the loss alone; by training_speed of the lowest training loss.

    What diverged comes last.
    """
    if row["diverged"]:
        return -math.inf, -math.inf
    if rank_by == "training_speed":
        return -row["train_loss"], -row["valid_loss"]
    return row.get("valid_acc", 0.0), -row["valid_loss"]


def _whole_cost(epochs: Sequence[Mapping[str, float]]) -> Row:
    """Return the seconds of all epochs, the share of them that went to data, and the highest of the peaks of memory."""
    seconds = sum(row["epoch_s"] for row in epochs)
    waited = sum(row["data_percent"] * row["epoch_s"] for row in epochs)
    peaks = {key: max(row[key] for row in epochs) for key in epochs[0] if key.endswith("_mib")}
    return {"architecture_s": seconds, "data_percent": waited / max(seconds, 1e-9), **peaks}
