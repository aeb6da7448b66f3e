"""Training from scratch, the same for the searched network and every baseline (quark0/darts, cnn/train.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.config import RetrainConfig
from darts_core.engine.loop import Batch, EpochCost, Loader, Log, Stateful, assess, memory_advice, no_log, require_finite, to_device
from darts_core.engine.schedule import cosine
from darts_core.metrics import RunningMean, top_k_accuracy
from darts_core.ops.drawn import drawn_modules, redraw
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.optim import sgd
from darts_core.runtime.progress import Progress

Row = dict[str, Any]
State = dict[str, Tensor]
SHOWN = ("train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "data_percent")
AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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

    def valid_acc(self, which: str) -> float | None:
        """Return the validation accuracy (percent) of the ``best`` or ``last`` epoch, or None without validation data."""
        epoch = self.best_epoch if which == "best" else len(self.history)
        accuracy = self.history[epoch - 1].get("valid_acc")
        return None if accuracy is None else float(accuracy)


class Trainer:
    """A network, its optimiser and the recipe: one epoch at a time; ``state_dict`` holds all that moves."""

    def __init__(self, network: nn.Module, cfg: RetrainConfig, *, device: torch.device, drop_path: DropPath) -> None:
        self.network = network
        self.cfg = cfg
        self.device = device
        self.drop_path = drop_path
        self.parameters = list(network.parameters())
        self.drawn = drawn_modules(network)
        self.optimizer = sgd(self.parameters, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=cfg.amp == "float16")

    def epoch(self, batches: Iterable[Batch], *, epoch: int) -> Row:
        """Train one epoch; return its mean loss (with the auxiliary head's share left out), accuracy and learning rate."""
        cfg = self.cfg
        lr = cosine(epoch, epochs=cfg.epochs, lr=cfg.lr, lr_min=cfg.lr_min, warmup_epochs=cfg.warmup_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.drop_path.prob = cfg.drop_path_prob * epoch / cfg.epochs
        loss, accuracy = RunningMean(), RunningMean()
        self.network.train()
        for images, labels in batches:
            value, logits = self.step(images, labels)
            loss.update(value, len(labels))
            accuracy.update(top_k_accuracy(logits, labels), len(labels))
        return {"train_loss": loss.value, "train_acc": accuracy.value, "lr": lr, "drop_path_prob": self.drop_path.prob}

    def step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step; return the main classifier's loss (scalar) and logits (B, K)."""
        cfg = self.cfg
        with torch.autocast(self.device.type, dtype=AMP_DTYPES.get(cfg.amp), enabled=cfg.amp != "off"):
            out = self.network(images)
        logits, auxiliary = out if isinstance(out, tuple) else (out, None)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=cfg.label_smoothing)
        total = loss
        if auxiliary is not None:
            total = loss + cfg.auxiliary_weight * F.cross_entropy(auxiliary.float(), labels, label_smoothing=cfg.label_smoothing)
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, cfg.grad_clip or float("inf"))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        redraw(self.drawn)
        return loss.detach(), logits.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network, optimiser, loss scale and drop path."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "drop_path": self.drop_path.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.drop_path.generator.set_state(state["drop_path"])


def retrain(
    network: nn.Module,
    *,
    name: str,
    train: Loader,
    valid: Iterable[Any] | None,
    cfg: RetrainConfig,
    drop_path: DropPath,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train ``network`` for ``cfg.epochs`` epochs; go on from ``checkpoint`` where it holds a state called ``name``.

    The best epoch is the one of highest validation accuracy, of these the one of lowest validation loss. ``drop_path`` is the object that
    the network was built with; its probability grows linearly with the epoch. Raise ``TrainingError`` where the loss is not finite or the
    device's memory is full.
    """
    network.to(device).to(memory_format=memory_format)
    trainer = Trainer(network, cfg, device=device, drop_path=drop_path)
    history: list[Row] = []
    costs: list[Row] = []
    done, best, best_epoch = 0, None, 0
    if checkpoint is not None and (state := checkpoint.load(name)) is not None:
        trainer.load_state_dict(state["trainer"])
        if isinstance(train, Stateful):
            train.load_state_dict(state["stream"])
        history, costs, done, best, best_epoch = state["history"], state["costs"], state["epoch"], state["best"], state["best_epoch"]
    reporter = Progress(f"retrain {name}", cfg.epochs, mode=progress, done=done)
    with memory_advice("Lower retrain.batch_size, retrain.init_channels or runtime.processes."), EpochCost(device) as cost:
        for epoch in range(done, cfg.epochs):
            batches = reporter.batches(cost.waiting(to_device(train, device, memory_format)), total=len(train))
            row = trainer.epoch(batches, epoch=epoch)
            require_finite(row["train_loss"], what=f"The loss of epoch {epoch + 1}", advice="Lower retrain.lr, or set retrain.grad_clip.")
            if valid is not None:
                row["valid_loss"], row["valid_acc"] = assess(network, cost.waiting(to_device(valid, device, memory_format)))
            history.append({"epoch": epoch + 1, **row})
            if best is None or valid is None or _rank(history[-1]) > _rank(history[best_epoch - 1]):
                best, best_epoch = _on_cpu(network), epoch + 1
            costs.append({"epoch": epoch + 1, **cost.lap()})
            if checkpoint is not None:
                checkpoint.save(
                    name,
                    {
                        "epoch": epoch + 1,
                        "trainer": trainer.state_dict(),
                        "stream": train.state_dict() if isinstance(train, Stateful) else {},
                        "history": history,
                        "costs": costs,
                        "best": best,
                        "best_epoch": best_epoch,
                    },
                )
            row |= {name: value for name, value in costs[-1].items() if name != "epoch"}
            log(row, epoch + 1)
            reporter.epoch({name: row[name] for name in SHOWN if name in row})
    reporter.close()
    assert best is not None
    return Trained(last=_on_cpu(network), best=best, best_epoch=best_epoch, history=history, costs=costs)


def _rank(row: Row) -> tuple[float, float]:
    return row["valid_acc"], -row["valid_loss"]


def _on_cpu(network: nn.Module) -> State:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
