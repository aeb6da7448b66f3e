"""One epoch of the search's two steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from darts_core.engine.loop import Batch
from darts_core.metrics import RunningMean
from darts_core.search.steps import Bilevel


def train_epoch(bilevel: Bilevel, batches: Iterable[Batch], valid: Iterator[Batch], lr: float, *, is_still: bool) -> dict[str, float]:
    """Move the weights by each batch, and, unless it stands still, alpha before them; return the means of what both steps saw."""
    train_loss, train_acc, arch_loss = RunningMean(), RunningMean(), RunningMean()
    bilevel.supernet.train()
    for train in batches:
        if not is_still:
            held_out = next(valid)
            arch_loss.update(bilevel.arch_step(train=train, valid=held_out, lr=lr), len(held_out[1]))
        taken = bilevel.weight_step(train, lr=lr)
        train_loss.update(taken.loss, len(train[1]))
        train_acc.update(taken.accuracy(), len(train[1]))
    row = {"train_loss": train_loss.value, "train_acc": train_acc.value}
    return row if is_still else {**row, "arch_loss": arch_loss.value}
