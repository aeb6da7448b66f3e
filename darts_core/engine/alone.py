"""Search without a supernet: architectures that are each trained by themselves, and the best of them on held-out data."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
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
from darts_core.search.select import TrainedAlone
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
    train: TrainAlone,
    generator: torch.Generator,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
) -> SearchResult:
    """Draw as many different architectures as the method says, ``train`` one after the other, and return the best of its last epoch.

    The history has a row for each, with its number from 1 as ``architecture``: loss and accuracy (of a text perplexity) of its last epoch,
    and the operations of its cells; the costs, ``architecture_s`` and so on, are those of its whole training. One whose training diverges
    is ``diverged``, has no loss, and comes last. Go on from ``checkpoint`` where it holds a state. Raise ``ValueError`` where the space has
    fewer architectures, ``TrainingError`` where all diverge or the device's memory is full.
    """
    assert isinstance(method.select, TrainedAlone)
    genotypes = draw_distinct(space, method.select.samples, generator=generator, key="method.samples")
    state = (None if checkpoint is None else checkpoint.load("search")) or {"history": [], "costs": []}
    history, costs = state["history"], state["costs"]
    reporter = Progress("search", len(genotypes), mode=progress, done=len(history), unit="architecture")
    for number in range(len(history), len(genotypes)):
        row, epochs = _outcome(train, genotypes[number], number)
        history.append({"architecture": number + 1, **row, "diverged": int(not row), **cell_metrics(genotypes[number], space)})
        costs.append({"architecture": number + 1, **_whole_cost(epochs)})
        if checkpoint is not None:
            checkpoint.save("search", {"history": history, "costs": costs})
            checkpoint.discard(state_name(number))
        log({name: value for name, value in {**history[-1], **costs[-1]}.items() if name != "architecture"}, number + 1)
        reporter.epoch(row)
    reporter.close()
    if all(row["diverged"] for row in history):
        raise TrainingError(f"The training of all {len(history)} architectures diverged. Lower search.lr, or set search.grad_clip.")
    best = max(range(len(history)), key=lambda number: _score(history[number]))
    LOG.info("search: architecture %d of %d is the best on held-out data, each trained alone.", best + 1, len(history))
    offers, like = space.offers(), torch.zeros(())
    op_weights = {
        cell_type: path_of(cell, offer=offers[cell_type], shape=space.shape, like=like).op_EO
        for cell_type, cell in genotypes[best].cells.items()
    }
    return SearchResult(
        genotype=method.derived(op_weights, primitives=space.primitives, shape=space.shape, space=space.name),
        history=history,
        alphas=[],
        costs=costs,
        ranks=[],
        selection=None,
        computed={"trained": f"{len(history)} architectures, each alone"},
        stopped=None,
        op_weights=op_weights,
        edge_weights={},
        supernet_state={},
        chosen=best,
    )


def _outcome(train: TrainAlone, genotype: Genotype, number: int) -> tuple[Row, Sequence[Mapping[str, float]]]:
    """Train one architecture; return what is kept of its last epoch, nothing where a loss is no number, and the costs of its epochs."""
    try:
        trained = train(genotype, number)
    except DivergedError as error:
        LOG.warning("search: architecture %d comes last. %s", number + 1, error)
        return {}, error.costs
    last = trained.history[-1]
    if not math.isfinite(last["valid_loss"]):
        LOG.warning("search: architecture %d comes last. Its validation loss is %s: the training diverged.", number + 1, last["valid_loss"])
        return {}, trained.costs
    return {name: last[name] for name in KEPT if name in last}, trained.costs


def _score(row: Mapping[str, float]) -> tuple[float, float]:
    """Of the highest accuracy, of these of the lowest loss; of a text by the loss alone; what diverged comes last."""
    if row["diverged"]:
        return -math.inf, -math.inf
    return row.get("valid_acc", 0.0), -row["valid_loss"]


def _whole_cost(epochs: Sequence[Mapping[str, float]]) -> Row:
    """Return the seconds of all epochs, the share of them that went to data, and the highest of the peaks of memory."""
    seconds = sum(row["epoch_s"] for row in epochs)
    waited = sum(row["data_percent"] * row["epoch_s"] for row in epochs)
    peaks = {key: max(row[key] for row in epochs) for key in epochs[0] if key.endswith("_mib")}
    return {"architecture_s": seconds, "data_percent": waited / max(seconds, 1e-9), **peaks}
