"""What a selection by the supernet's weights asks of a search: how good it is, and a few epochs more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import cache
from typing import Any

import torch
from torch import Tensor

from darts_core.engine.epoch import train_epoch
from darts_core.engine.loop import Batch, Loader, Stateful, require_finite
from darts_core.engine.schedule import cosine
from darts_core.metrics import RunningMean
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.search.select import TrainedAlone
from darts_core.search.steps import Bilevel
from darts_core.spaces.space import Space
from darts_core.supernet.recompute import BatchNormsStandStill
from darts_core.supernet.sampled import Sampled
from darts_core.supernet.skip_dropout import whole_skips
from darts_core.supernet.supernet import Supernet

TUNING_LR = 0.1
"""Of ``search.lr``, where tuning begins (DARTS-PT, arXiv:2108.04392)."""

ANSWERS, TUNED = "selection", "selection_tuned"
"""What the states of a selection are called: what it has been told, and what it has been trained to be."""

Place = Callable[[Iterable[Batch]], Iterator[Batch]]
LOG = logging.getLogger(__name__)


def mean_quality(supernet: Supernet, batches: Iterable[Batch]) -> float:
    """Return the mean :meth:`Supernet.quality` on batches that are on the supernet's device; no buffer moves."""
    quality = RunningMean()
    supernet.ranking()
    with torch.no_grad(), BatchNormsStandStill(supernet), whole_skips(supernet):
        for inputs, targets in batches:
            quality.update(supernet.quality(inputs, targets), len(targets))
    supernet.train()
    return quality.value


def _at_most(wanted: int, held_out: Iterable[Batch]) -> int:
    """Return how many batches are asked about: no more than are held out, for they go round without end and are all kept at hand."""
    return min(wanted, len(held_out)) if isinstance(held_out, Sized) else wanted


def forget_answers(checkpoint: Checkpoint) -> None:
    """Delete what a selection has been told, as a search does that begins anew."""
    for name in (ANSWERS, TUNED):
        checkpoint.discard(name)


class Answers:
    """What a selection has been told so far, which a ``checkpoint`` keeps: it asks the same again, and nothing is computed twice.

    ``scores`` are those of the evaluations, in the order in which they are asked for, ``tuned`` is how many tuning epochs are over, and
    ``earlier_s`` the seconds that it all took before a kill. Each score is saved, and after each tuning epoch the state of supernet,
    optimisers and ``streams``.
    """

    def __init__(self, checkpoint: Checkpoint | None, streams: Sequence[Stateful]) -> None:
        self._checkpoint, self._streams = checkpoint, streams
        told, self._trained = (None if checkpoint is None else checkpoint.load(name) for name in (ANSWERS, TUNED))
        self.scores: list[float] = [] if told is None else told["scores"]
        self.tuned: int = 0 if self._trained is None else self._trained["tuned"]
        self.earlier_s: float = max((state["seconds"] for state in (told, self._trained) if state is not None), default=0.0)
        self._begun = time.perf_counter()
        self._asked = 0

    def restore(self, tuning: Callable[[], Bilevel]) -> None:
        """Bring supernet, optimisers and batches to where they were after the last tuning epoch that is over."""
        if self.scores or self._trained is not None:
            LOG.info("search: the selection goes on after %d evaluations and %d epochs of tuning.", len(self.scores), self.tuned)
        if self._trained is not None:
            tuning().supernet.load_state_dict(self._trained["supernet"])
            tuning().load_state_dict(self._trained["tuning"])
            for part, saved in zip(self._streams, self._trained["streams"], strict=True):
                part.load_state_dict(saved)
            self._trained = None

    def next(self, compute: Callable[[], float]) -> float:
        """Return the next score, by ``compute`` where nobody knows it."""
        self._asked += 1
        if self._asked > len(self.scores):
            self.scores.append(compute())
            self._save(ANSWERS, {"scores": self.scores})
        return self.scores[self._asked - 1]

    def note(self, tuning: Bilevel) -> None:
        """Save the state after a tuning epoch."""
        self.tuned += 1
        streams = [part.state_dict() for part in self._streams]
        states = {"supernet": tuning.supernet.state_dict(), "tuning": tuning.state_dict(), "streams": streams}
        self._save(TUNED, {"tuned": self.tuned, **states})

    def _save(self, name: str, state: Mapping[str, Any]) -> None:
        if self._checkpoint is not None:
            self._checkpoint.save(name, {**state, "seconds": self.earlier_s + time.perf_counter() - self._begun})


def selected(
    bilevel: Bilevel,
    space: Space,
    *,
    train: Loader,
    valid: Iterator[Batch],
    held_out: Iterable[Batch],
    place: Place,
    streams: Sequence[Stateful] = (),
    checkpoint: Checkpoint | None = None,
) -> tuple[dict[str, Tensor], float]:
    """Return the weights 0 and 1 of the architecture that the method's selection chooses, op_EO of each cell type.

    And the seconds that it took before it was interrupted, 0 unless it was: it goes on where ``checkpoint`` has it, with the state of
    ``streams``, the batches that have one. ``place`` brings batches of ``train`` and ``held_out`` to the device, where those of ``valid``
    are.
    """
    supernet, method, cfg = bilevel.supernet, bilevel.method, bilevel.cfg
    assert method.select is not None
    assert not isinstance(method.select, TrainedAlone)  # require_supernet lets none here
    bilevel.start_epoch(cfg.epochs)  # nothing is left of what fades along the search
    few = None if method.select.batches is None else [next(valid) for _ in range(_at_most(method.select.batches, held_out))]
    for part in streams:  # a pass over a window leaves its state with the text: here none is where training goes on from
        part.load_state_dict(part.state_dict())
    seed = supernet.relax.seed() if isinstance(supernet.relax, Sampled) else bilevel.generator.initial_seed()

    @cache
    def tuning() -> Bilevel:  # optimisers without a past, as at the search's end
        fresh = Bilevel(supernet, method, cfg, generator=bilevel.generator)
        fresh.start_epoch(cfg.epochs)
        return fresh

    answers = Answers(checkpoint, streams)
    answers.restore(tuning)
    supernet.ranks_by_loss |= method.select.by_loss

    def evaluate() -> float:
        return answers.next(lambda: mean_quality(supernet, place(held_out) if few is None else few))

    def tune(epoch: int, epochs: int) -> None:
        if epoch < answers.tuned:
            return
        start = TUNING_LR * cfg.lr
        lr = cosine(epoch, epochs=epochs, lr=start, lr_min=min(start, cfg.lr_min))
        row = train_epoch(tuning(), place(train), valid, lr, is_still=method.is_still(cfg.epochs))
        require_finite(row["train_loss"], what=f"The loss of tuning epoch {epoch + 1}", advice="Lower search.lr.")
        answers.note(tuning())
        LOG.info(
            "search: tuned for epoch %d of %d: train_loss %.4f, train_acc %.2f.", epoch + 1, epochs, row["train_loss"], row["train_acc"]
        )

    genotype, best = method.select(supernet, space, evaluate=evaluate, tune=tune, generator=torch.Generator().manual_seed(seed))
    where = "everything held out" if few is None else f"{len(few)} validation batch{'es' if len(few) > 1 else ''}"
    LOG.info("search: the chosen architecture has %s on %s with the shared weights.", supernet.quality_text(best), where)
    return {cell_type: supernet.path(genotype, cell_type).op_EO.cpu() for cell_type in supernet.cell_types}, answers.earlier_s
