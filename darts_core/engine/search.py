"""The search loop: arch step, weight step, for every batch of every epoch (quark0/darts, cnn/train_search.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.config import SearchConfig
from darts_core.engine.alphas import alpha_rows, edge_metrics, mixture_metrics
from darts_core.engine.loop import (
    Batch,
    EpochCost,
    Loader,
    Log,
    Stateful,
    TrainingError,
    assess,
    memory_advice,
    no_log,
    require_finite,
    to_device,
)
from darts_core.engine.placing import advice, place
from darts_core.engine.schedule import cosine
from darts_core.engine.watch import cell_metrics, collapse_warning, is_collapsed, ranking, stable_epochs
from darts_core.genotype import Cell, Genotype
from darts_core.metrics import RunningMean, top_k_accuracy
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.progress import Progress
from darts_core.search.hessian import dominant_eigenvalue
from darts_core.search.method import Method, check_warmup
from darts_core.search.select import Selection
from darts_core.search.steps import Bilevel
from darts_core.search.stop import why_stop
from darts_core.spaces.space import Space
from darts_core.supernet.recompute import BatchNormsStandStill
from darts_core.supernet.sampled import Sampled
from darts_core.supernet.supernet import Supernet

Row = dict[str, Any]
LOG = logging.getLogger(__name__)
SHOWN = ("train_loss", "train_acc", "train_ppl", "valid_loss", "valid_acc", "valid_ppl", "lr", "data_percent")


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """``train`` moves the weights, ``valid`` (endless) moves alpha, ``held_out`` is what accuracy is reported on after each epoch.

    ``batch_shape`` is that of the largest training batch, (B, C, H, W), or (B, T) of a text.
    """

    batch_shape: tuple[int, ...]
    train: Loader
    valid: Iterable[Batch]
    held_out: Iterable[Any]

    def streams(self) -> list[Stateful]:
        """Return the parts whose random state a checkpoint keeps."""
        return [part for part in (self.train, self.valid) if isinstance(part, Stateful)]


@dataclass(kw_only=True)
class SearchResult:
    """What a search found.

    ``history`` has a row an epoch (losses, accuracies in percent, learning rate, entropies, mean weights, the collapse watch), ``alphas`` a
    row for each epoch, cell, edge and operation, ``costs`` what :meth:`EpochCost.lap` says of each epoch; ``op_weights`` are the final
    weights op_EO of each cell type, ``edge_weights`` those of the edges, edge_E, where they have any, and ``supernet_state`` is the
    ``state_dict`` with alpha in it. ``computed`` says by which backend and memory mode, ``stopped`` why the search ended before its last
    epoch, if it did.
    """

    genotype: Genotype
    history: list[Row]
    alphas: list[Row]
    costs: list[Row]
    computed: dict[str, str]
    stopped: str | None
    op_weights: dict[str, Tensor] = field(repr=False)
    edge_weights: dict[str, Tensor] = field(repr=False)
    supernet_state: dict[str, Tensor] = field(repr=False)

    @property
    def normal(self) -> Cell:
        """The normal cell."""
        return self.genotype.normal

    @property
    def reduce(self) -> Cell:
        """The reduction cell; ``ValueError`` where the space has none."""
        return self.genotype.cell("reduce")

    @property
    def train_acc(self) -> float:
        """Top-1 accuracy of the supernet on its training batches in the last epoch, percent."""
        return float(self.history[-1]["train_acc"])

    @property
    def valid_acc(self) -> float:
        """Top-1 accuracy of the supernet on held-out images after the last epoch, percent."""
        return float(self.history[-1]["valid_acc"])


def search(
    supernet: Supernet,
    method: Method,
    *,
    space: Space,
    data: SearchData,
    cfg: SearchConfig,
    device: torch.device,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
    generator: torch.Generator | None = None,
) -> SearchResult:
    """Run ``cfg.epochs`` epochs, or fewer if the method says so, and derive the genotype of the last one.

    Go on from ``checkpoint`` where it holds a state. What a method draws at random comes from ``generator``, a CPU generator.

    Raise ``ValueError`` where the method's warm-up leaves no epoch in which alpha moves, ``TrainingError`` where a loss is not finite, the
    training set is empty, or the device's memory is full.
    """
    check_warmup(method, cfg)
    if isinstance(data.train, Sized) and len(data.train) == 0:
        raise TrainingError("The training loader has no batch: fewer images than search.batch_size with drop_last?")
    with memory_advice(advice(supernet, method)):
        computed = place(supernet, method, cfg, device, data.batch_shape, batches=len(data.train))
    memory_format = supernet.backend.memory_format(device)
    bilevel = Bilevel(supernet, method, cfg, generator=generator)
    usable = space.shape.choosable(supernet.primitives)
    history: list[Row] = []
    alphas: list[Row] = []
    costs: list[Row] = []
    done = 0
    if checkpoint is not None and (state := checkpoint.load("search")) is not None:
        supernet.load_state_dict(state["supernet"])
        bilevel.load_state_dict(state["bilevel"])
        for part, saved in zip(data.streams(), state["streams"], strict=True):
            part.load_state_dict(saved)
        history, alphas, costs, done = state["history"], state["alphas"], state["costs"], state["epoch"]
    reporter = Progress("search", cfg.epochs, mode=progress, done=done)
    with memory_advice(advice(supernet, method)), EpochCost(device) as cost:
        valid = cost.waiting(to_device(data.valid, device, memory_format))
        for epoch in range(done, cfg.epochs):
            if why_stop(method.stop, history) is not None:
                break
            bilevel.start_epoch(epoch)
            before, is_still = ranking(supernet.mixture(), usable), method.is_still(epoch)
            lr = cosine(epoch, epochs=cfg.epochs, lr=cfg.lr, lr_min=cfg.lr_min)
            temperature = _set_temperature(supernet, method, epoch, cfg.epochs)
            batches = reporter.batches(cost.waiting(to_device(data.train, device, memory_format)), total=len(data.train))
            row = _train_epoch(bilevel, batches, valid, lr, is_still=is_still)
            require_finite(
                row["train_loss"] + row.get("arch_loss", 0.0),
                what=f"The loss of epoch {epoch + 1}",
                advice="Lower search.lr or search.arch_lr.",
            )
            row["valid_loss"], row["valid_acc"] = assess(supernet, cost.waiting(to_device(data.held_out, device, memory_format)))
            mixture = supernet.mixture()
            row |= {
                **supernet.metrics(row),
                "lr": lr,
                **temperature,
                **mixture_metrics(mixture, supernet.primitives),
                **edge_metrics(supernet.edge_mixture(), space.edge_names),
                **cell_metrics(_derive(supernet, method, space, mixture)),
                "stable_epochs": stable_epochs(history, before, ranking(mixture, usable), is_still=is_still),
            }
            row["collapsed"] = int(is_collapsed([*history, row]))
            if method.penalties:
                row["penalty"] = float(bilevel.penalty().detach())
            if cfg.hessian_every and (epoch + 1) % cfg.hessian_every == 0:
                row["hessian"] = _curvature(supernet, next(iter(to_device(data.held_out, device, memory_format))))
            history.append({"epoch": epoch + 1, **row})
            if (warning := collapse_warning(history)) is not None:
                LOG.warning("search: %s", warning)
            alphas += alpha_rows(epoch + 1, mixture, space.edge_names, supernet.primitives)
            costs.append({"epoch": epoch + 1, **cost.lap()})
            if checkpoint is not None:
                checkpoint.save(
                    "search",
                    {
                        "epoch": epoch + 1,
                        "supernet": supernet.state_dict(),
                        "bilevel": bilevel.state_dict(),
                        "streams": [part.state_dict() for part in data.streams()],
                        "history": history,
                        "alphas": alphas,
                        "costs": costs,
                    },
                )
            row |= {name: value for name, value in costs[-1].items() if name != "epoch"}
            log(row, epoch + 1)
            reporter.epoch({name: row[name] for name in SHOWN if name in row})
        op_weights = supernet.mixture() if method.select is None else _selected(supernet, method.select, space, valid)
    reporter.close()
    stopped = why_stop(method.stop, history) if len(history) < cfg.epochs else None
    if stopped is not None:
        LOG.info("search: ended after epoch %d of %d: %s.", len(history), cfg.epochs, stopped)
    return SearchResult(
        genotype=_derive(supernet, method, space, op_weights),
        history=history,
        alphas=alphas,
        costs=costs,
        computed=computed,
        stopped=stopped,
        op_weights=op_weights,
        edge_weights=supernet.edge_mixture(),
        supernet_state={name: value.detach().cpu() for name, value in supernet.state_dict().items()},
    )


def _derive(supernet: Supernet, method: Method, space: Space, op_EO: Mapping[str, Tensor]) -> Genotype:
    return method.derive(op_EO, primitives=supernet.primitives, shape=space.shape, space=space.name, edge_E=supernet.edge_mixture())


def _curvature(supernet: Supernet, batch: Batch) -> float:
    """Return the dominant eigenvalue on ``batch``, always from the same first vector: it changes nothing else of the search."""
    return dominant_eigenvalue(supernet, F.cross_entropy, batch, generator=torch.Generator().manual_seed(0))


def _set_temperature(supernet: Supernet, method: Method, epoch: int, epochs: int) -> Row:
    """Give the relaxation the temperature of ``epoch`` and return it for the log; nothing where the method has none."""
    if method.temperature is None:
        return {}
    assert isinstance(supernet.relax, Sampled)
    supernet.relax.temperature = method.temperature(epoch, epochs)
    return {"temperature": supernet.relax.temperature}


def _selected(supernet: Supernet, select: Selection, space: Space, valid: Iterator[Batch]) -> dict[str, Tensor]:
    """Return the weights 0 and 1 of the architecture that ``select`` chooses by the supernet's weights."""
    batches = [next(valid) for _ in range(select.batches)]
    supernet.train()  # the statistics of the batch: those of all paths together are no path's

    def score(genotype: Genotype) -> float:
        accuracy = RunningMean()
        with torch.no_grad(), supernet.only(genotype), BatchNormsStandStill(supernet):
            for images, labels in batches:
                accuracy.update(top_k_accuracy(supernet(images), labels), len(labels))
        return accuracy.value

    seed = supernet.relax.seed() if isinstance(supernet.relax, Sampled) else 0
    genotype, best = select(space, score, torch.Generator().manual_seed(seed))
    LOG.info("search: the chosen architecture has %.2f %% on %d validation batches with the shared weights.", best, select.batches)
    return {cell_type: supernet.path(genotype, cell_type).op_EO.cpu() for cell_type in supernet.cell_types}


def _train_epoch(bilevel: Bilevel, batches: Iterable[Batch], valid: Iterator[Batch], lr: float, *, is_still: bool) -> Row:
    """Move the weights by each batch, and, unless it stands still, alpha before them."""
    train_loss, train_acc, arch_loss = RunningMean(), RunningMean(), RunningMean()
    bilevel.supernet.train()
    for train in batches:
        if not is_still:
            held_out = next(valid)
            arch_loss.update(bilevel.arch_step(train=train, valid=held_out, lr=lr), len(held_out[1]))
        taken = bilevel.weight_step(train, lr=lr)
        train_loss.update(taken.loss, len(train[1]))
        train_acc.update(top_k_accuracy(taken.logits, train[1]), len(train[1]))
    row = {"train_loss": train_loss.value, "train_acc": train_acc.value}
    return row if is_still else {**row, "arch_loss": arch_loss.value}
