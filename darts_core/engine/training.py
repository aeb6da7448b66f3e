"""Epochs of a training from scratch, whatever is trained: history, best epoch, seconds and memory, checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from darts_core.engine.loop import DivergedError, EpochCost, Loader, Log, Stateful, memory_advice, no_log, to_device
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.progress import Progress

Row = dict[str, Any]
State = dict[str, Tensor]


class Recipe(Protocol):
    """A network and how it is trained. ``state_dict`` holds all that moves."""

    def epoch(self, batches: Iterable[Any], *, epoch: int) -> Row:
        """Train epoch number ``epoch`` (from 0) and return its row; raise ``TrainingError`` where it cannot go on."""

    def assess(self, batches: Iterable[Any]) -> Row:
        """Return what the validation data say."""

    def rank(self, row: Row) -> tuple[float, ...]:
        """Return what is highest in the best epoch."""

    def weights(self) -> State:
        """Return a copy of the weights that the network would be used with, on the CPU."""

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # noqa: D102


@dataclass(kw_only=True)
class Trained:
    """A trained network: weights of the last epoch and of the best one on validation data, and a history with a row an epoch.

    Without validation data the best epoch is the last.
    """

    last: State = field(repr=False)
    best: State = field(repr=False)
    best_epoch: int
    history: list[Row]
    costs: list[Row]

    @property
    def rolled_back(self) -> tuple[int, ...]:
        """The epochs (from 1) whose loss was no number, so that the weights went back to the best epoch before."""
        return tuple(int(row["epoch"]) for row in self.history if row.get("rolled_back"))

    def value(self, column: str, which: str) -> float | None:
        """Return what the history has in ``column`` of the ``best`` or ``last`` epoch, or None where it has no such column."""
        epoch = self.best_epoch if which == "best" else len(self.history)
        found = self.history[epoch - 1].get(column)
        return None if found is None else float(found)


def train_epochs(
    recipe: Recipe,
    *,
    name: str,
    train: Loader,
    valid: Iterable[Any] | None,
    epochs: int,
    device: torch.device,
    shown: Sequence[str],
    advice: str,
    memory_format: torch.memory_format = torch.contiguous_format,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train for ``epochs`` epochs; go on from ``checkpoint`` where it holds a state called ``name``.

    ``shown`` are the columns that progress lines have, ``advice`` says what to lower where the device's memory is full
    (``TrainingError``). A ``DivergedError`` of the recipe is given the costs of the epochs so far.
    """
    history: list[Row] = []
    costs: list[Row] = []
    done, best, best_epoch = 0, None, 0
    if checkpoint is not None and (state := checkpoint.load(name)) is not None:
        recipe.load_state_dict(state["trainer"])
        if isinstance(train, Stateful):
            train.load_state_dict(state["stream"])
        history, costs, done, best, best_epoch = state["history"], state["costs"], state["epoch"], state["best"], state["best_epoch"]
    reporter = Progress(f"retrain {name}", epochs, mode=progress, done=done)
    with memory_advice(advice), EpochCost(device) as cost:
        for epoch in range(done, epochs):
            batches = reporter.batches(cost.waiting(to_device(train, device, memory_format)), total=len(train))
            try:
                row = recipe.epoch(batches, epoch=epoch)
            except DivergedError as error:  # the seconds are spent all the same
                error.costs = [*costs, {"epoch": epoch + 1, **cost.lap()}]
                raise
            if valid is not None:
                row |= recipe.assess(cost.waiting(to_device(valid, device, memory_format)))
            history.append({"epoch": epoch + 1, **row})
            if best is None or valid is None or recipe.rank(history[-1]) > recipe.rank(history[best_epoch - 1]):
                best, best_epoch = recipe.weights(), epoch + 1
            costs.append({"epoch": epoch + 1, **cost.lap()})
            if checkpoint is not None:
                checkpoint.save(
                    name,
                    {
                        "epoch": epoch + 1,
                        "trainer": recipe.state_dict(),
                        "stream": train.state_dict() if isinstance(train, Stateful) else {},
                        "history": history,
                        "costs": costs,
                        "best": best,
                        "best_epoch": best_epoch,
                    },
                )
            row |= {name: value for name, value in costs[-1].items() if name != "epoch"}
            log(row, epoch + 1)
            reporter.epoch({name: row[name] for name in shown if name in row})
    reporter.close()
    assert best is not None
    return Trained(last=recipe.weights(), best=best, best_epoch=best_epoch, history=history, costs=costs)
