"""What a selection by the supernet's weights asks of a search: how good it is, and a few epochs more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from darts_core.engine.epoch import train_epoch
from darts_core.engine.loop import Batch, Loader, require_finite
from darts_core.engine.schedule import cosine
from darts_core.metrics import RunningMean
from darts_core.search.select import TrainedAlone
from darts_core.search.steps import Bilevel
from darts_core.spaces.space import Space
from darts_core.supernet.recompute import BatchNormsStandStill
from darts_core.supernet.sampled import Sampled
from darts_core.supernet.skip_dropout import whole_skips
from darts_core.supernet.supernet import Supernet

TUNING_LR = 0.1
"""Of ``search.lr``, where tuning begins (DARTS-PT, arXiv:2108.04392)."""

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


def selected(
    bilevel: Bilevel, space: Space, *, train: Loader, valid: Iterator[Batch], held_out: Iterable[Batch], place: Place
) -> dict[str, Tensor]:
    """Return the weights 0 and 1 of the architecture that the method's selection chooses, op_EO of each cell type.

    ``place`` brings batches of ``train`` and ``held_out`` to the device, where those of ``valid`` are. A resumed search selects again, from
    the state of its last epoch, and so alike.
    """
    supernet, method, cfg = bilevel.supernet, bilevel.method, bilevel.cfg
    assert method.select is not None
    assert not isinstance(method.select, TrainedAlone)  # require_supernet lets none here
    bilevel.start_epoch(cfg.epochs)  # nothing is left of what fades along the search
    few = None if method.select.batches is None else [next(valid) for _ in range(method.select.batches)]
    tuning: list[Bilevel] = []

    def evaluate() -> float:
        return mean_quality(supernet, place(held_out) if few is None else few)

    def tune(epoch: int, epochs: int) -> None:
        if not tuning:  # optimisers without a past, as at the search's end
            tuning.append(Bilevel(supernet, method, cfg, generator=bilevel.generator))
            tuning[0].start_epoch(cfg.epochs)
        start = TUNING_LR * cfg.lr
        lr = cosine(epoch, epochs=epochs, lr=start, lr_min=min(start, cfg.lr_min))
        row = train_epoch(tuning[0], place(train), valid, lr, is_still=method.is_still(cfg.epochs))
        require_finite(row["train_loss"], what=f"The loss of tuning epoch {epoch + 1}", advice="Lower search.lr.")
        LOG.info(
            "search: tuned for epoch %d of %d: train_loss %.4f, train_acc %.2f.", epoch + 1, epochs, row["train_loss"], row["train_acc"]
        )

    seed = supernet.relax.seed() if isinstance(supernet.relax, Sampled) else bilevel.generator.initial_seed()
    genotype, best = method.select(supernet, space, evaluate=evaluate, tune=tune, generator=torch.Generator().manual_seed(seed))
    where = "everything held out" if few is None else f"{len(few)} validation batch{'es' if len(few) > 1 else ''}"
    LOG.info("search: the chosen architecture has %s on %s with the shared weights.", supernet.quality_text(best), where)
    return {cell_type: supernet.path(genotype, cell_type).op_EO.cpu() for cell_type in supernet.cell_types}
