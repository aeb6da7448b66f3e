"""The search loop: arch step, weight step, for every batch of every epoch (quark0/darts, cnn/train_search.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
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
from darts_core.engine.schedule import cosine
from darts_core.genotype import Cell, Genotype
from darts_core.metrics import RunningMean, count_macs, top_k_accuracy
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.memory import free_mib
from darts_core.runtime.progress import Progress
from darts_core.search.method import Method, check_warmup
from darts_core.search.steps import Bilevel
from darts_core.spaces.space import CellSpace
from darts_core.supernet.choice import choose_backend
from darts_core.supernet.footprint import estimate_peak_mib
from darts_core.supernet.supernet import Supernet

Row = dict[str, Any]
FREE_SHARE = 0.8  # of the free memory that a step may take where search.memory_budget_mib is null
LOG = logging.getLogger(__name__)
SHOWN = ("train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "data_percent")


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """``train`` moves the weights, ``valid`` (endless) moves alpha, ``held_out`` is what accuracy is reported on after each epoch.

    ``batch_shape`` is that of the largest training batch, (B, C, H, W).
    """

    batch_shape: tuple[int, int, int, int]
    train: Loader
    valid: Iterator[Batch]
    held_out: Iterable[Any]

    def streams(self) -> list[Stateful]:
        """Return the parts whose random state a checkpoint keeps."""
        return [part for part in (self.train, self.valid) if isinstance(part, Stateful)]


@dataclass(kw_only=True)
class SearchResult:
    """What a search found.

    ``history`` has a row an epoch (losses, accuracies in percent, learning rate, entropies, mean weights), ``alphas`` a row for each
    epoch, cell, edge and operation, ``costs`` what :meth:`EpochCost.lap` says of each epoch; ``op_weights`` are the final weights op_EO of
    each cell type, ``edge_weights`` those of the edges, edge_E, where they have any, and ``supernet_state`` is the ``state_dict`` with
    alpha in it. ``computed`` says by which backend and memory mode.
    """

    genotype: Genotype
    history: list[Row]
    alphas: list[Row]
    costs: list[Row]
    computed: dict[str, str]
    op_weights: dict[str, Tensor] = field(repr=False)
    edge_weights: dict[str, Tensor] = field(repr=False)
    supernet_state: dict[str, Tensor] = field(repr=False)

    @property
    def normal(self) -> Cell:
        """The normal cell."""
        return self.genotype.normal

    @property
    def reduce(self) -> Cell:
        """The reduction cell."""
        return self.genotype.reduce

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
    space: CellSpace,
    data: SearchData,
    cfg: SearchConfig,
    device: torch.device,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
) -> SearchResult:
    """Run ``cfg.epochs`` epochs and derive the genotype of the last one; go on from ``checkpoint`` where it holds a state.

    Raise ``ValueError`` where the method's warm-up leaves no epoch in which alpha moves, ``TrainingError`` where a loss is not finite, the
    training set is empty, or the device's memory is full.
    """
    check_warmup(method, cfg)
    if isinstance(data.train, Sized) and len(data.train) == 0:
        raise TrainingError("The training loader has no batch: fewer images than search.batch_size with drop_last?")
    with memory_advice("Lower search.batch_size or space.init_channels."):
        computed = place(supernet, method, cfg, device, data.batch_shape, batches=len(data.train))
    memory_format = supernet.backend.memory_format(device)
    bilevel = Bilevel(supernet, method, cfg)
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
    with memory_advice(_memory_advice(supernet, method)), EpochCost(device) as cost:
        valid = cost.waiting(to_device(data.valid, device, memory_format))
        for epoch in range(done, cfg.epochs):
            lr = cosine(epoch, epochs=cfg.epochs, lr=cfg.lr, lr_min=cfg.lr_min)
            batches = reporter.batches(cost.waiting(to_device(data.train, device, memory_format)), total=len(data.train))
            row = _train_epoch(bilevel, batches, valid, lr, is_warmup=epoch < method.warmup_epochs)
            require_finite(
                row["train_loss"] + row.get("arch_loss", 0.0),
                what=f"The loss of epoch {epoch + 1}",
                advice="Lower search.lr or search.arch_lr.",
            )
            row["valid_loss"], row["valid_acc"] = assess(supernet, cost.waiting(to_device(data.held_out, device, memory_format)))
            mixture = supernet.mixture()
            row |= {"lr": lr, **mixture_metrics(mixture, supernet.primitives), **edge_metrics(supernet.edge_mixture(), space.edge_names)}
            history.append({"epoch": epoch + 1, **row})
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
            reporter.epoch({name: row[name] for name in SHOWN})
    reporter.close()
    return SearchResult(
        genotype=method.derive(
            supernet.mixture(), primitives=supernet.primitives, nodes=space.nodes, space=space.name, edge_E=supernet.edge_mixture()
        ),
        history=history,
        alphas=alphas,
        costs=costs,
        computed=computed,
        op_weights=supernet.mixture(),
        edge_weights=supernet.edge_mixture(),
        supernet_state={name: value.detach().cpu() for name, value in supernet.state_dict().items()},
    )


def place(
    supernet: Supernet,
    method: Method,
    cfg: SearchConfig,
    device: torch.device,
    batch_shape: tuple[int, int, int, int],
    *,
    batches: int,
) -> dict[str, str]:
    """Move the supernet to ``device``, choose backend and memory mode by ``search.backend`` and ``search.memory``, and say which.

    ``batches`` are those of an epoch, each of ``batch_shape`` (B, C, H, W).
    """
    number, channels, height, width = batch_shape
    operations = 0.0
    if cfg.backend == "auto" and device.type == "cpu":
        macs = count_macs(supernet, input_shape=(channels, height, width))
        operations = float(method.arch_gradient.operations * macs * number * batches * cfg.epochs)
    choice = choose_backend(supernet, cfg.backend, device, size=(height, width), batch=number, operations=operations)
    LOG.log(logging.WARNING if choice.fell_back else logging.INFO, "search: backend %s.", choice.why)
    supernet.use(choice.backend, device, is_lean=cfg.memory == "lean")
    if cfg.memory == "auto":
        graphs = method.arch_gradient.graphs
        needed = estimate_peak_mib(supernet, batch_shape, graphs=graphs)
        budget = cfg.memory_budget_mib or FREE_SHARE * free_mib(device)
        supernet.is_lean = needed > budget and graphs == 1
        mode = "lean" if supernet.is_lean else "normal"
        LOG.log(
            logging.WARNING if needed > budget and graphs > 1 else logging.INFO,
            "search: memory %s (a step would take about %.0f MiB in mode normal, %.0f MiB are allowed).",
            mode,
            needed,
            budget,
        )
    return {"backend": choice.backend.name, "memory": "lean" if supernet.is_lean else "normal"}


def _memory_advice(supernet: Supernet, method: Method) -> str:
    can_be_lean = not supernet.is_lean and method.arch_gradient.graphs == 1
    return f"{'Set search.memory: lean, or lower' if can_be_lean else 'Lower'} search.batch_size or space.init_channels."


def _train_epoch(bilevel: Bilevel, batches: Iterable[Batch], valid: Iterator[Batch], lr: float, *, is_warmup: bool) -> Row:
    """Move the weights by each batch, and, but for a warm-up, alpha before them."""
    train_loss, train_acc, arch_loss = RunningMean(), RunningMean(), RunningMean()
    bilevel.supernet.train()
    for train in batches:
        if not is_warmup:
            held_out = next(valid)
            arch_loss.update(bilevel.arch_step(train=train, valid=held_out, lr=lr), len(held_out[1]))
        taken = bilevel.weight_step(train, lr=lr)
        train_loss.update(taken.loss, len(train[1]))
        train_acc.update(top_k_accuracy(taken.logits, train[1]), len(train[1]))
    row = {"train_loss": train_loss.value, "train_acc": train_acc.value}
    return row if is_warmup else {**row, "arch_loss": arch_loss.value}
