"""Training from scratch, the same for the searched network and every baseline (quark0/darts, cnn/train.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.config import RetrainConfig
from darts_core.engine.loop import Batch, Loader, Log, assess, calmer, no_log, require_finite
from darts_core.engine.schedule import cosine
from darts_core.engine.training import Row, State, Trained, train_epochs
from darts_core.metrics import RunningMean, top_k_accuracy
from darts_core.ops.drawn import drawn_modules, redraw
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.optim import sgd

SHOWN = ("train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "data_percent")
Section = Literal["retrain", "search"]
ADVICE = {
    "retrain": "Lower retrain.batch_size, retrain.init_channels or runtime.processes.",
    "search": "Lower search.batch_size or space.init_channels.",
}
"""Of what to lower where the device's memory is full."""

AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Trainer:
    """A network, its optimiser and the recipe: one epoch at a time; ``state_dict`` holds all that moves."""

    def __init__(
        self, network: nn.Module, cfg: RetrainConfig, *, device: torch.device, drop_path: DropPath, section: Section = "retrain"
    ) -> None:
        self.network = network
        self.cfg = cfg
        self.device = device
        self.drop_path = drop_path
        self.section = section
        self.parameters = list(network.parameters())
        self.drawn = drawn_modules(network)
        self.optimizer = sgd(self.parameters, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=cfg.amp == "float16")

    def epoch(self, batches: Iterable[Batch], *, epoch: int) -> Row:
        """Train one epoch; return its mean loss (with the auxiliary head's share left out), accuracy and learning rate.

        Raise ``DivergedError`` where the loss is not finite.
        """
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
        require_finite(loss.value, what=f"The loss of epoch {epoch + 1}", advice=calmer(self.section, cfg.grad_clip))
        return {"train_loss": loss.value, "train_acc": accuracy.value, "lr": lr, "drop_path_prob": self.drop_path.prob}

    def assess(self, batches: Iterable[Batch]) -> Row:
        """Return loss and accuracy on validation images."""
        loss, accuracy = assess(self.network, batches)
        return {"valid_loss": loss, "valid_acc": accuracy}

    def rank(self, row: Row) -> tuple[float, float]:
        """The best epoch is the one of highest accuracy, of these the one of lowest loss."""
        return row["valid_acc"], -row["valid_loss"]

    def weights(self) -> State:
        """Return a copy of the weights, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

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
    section: Section = "retrain",
) -> Trained:
    """Train ``network`` for ``cfg.epochs`` epochs; go on from ``checkpoint`` where it holds a state called ``name``.

    The best epoch is the one of highest validation accuracy, of these the one of lowest validation loss. ``drop_path`` is the object that
    the network was built with; its probability grows linearly with the epoch. ``section`` of ``params.yaml`` is what the recipe is from.
    Raise ``DivergedError`` where the loss is not finite, ``TrainingError`` where the device's memory is full.
    """
    network.to(device).to(memory_format=memory_format)
    return train_epochs(
        Trainer(network, cfg, device=device, drop_path=drop_path, section=section),
        name=name,
        train=train,
        valid=valid,
        epochs=cfg.epochs,
        device=device,
        memory_format=memory_format,
        shown=SHOWN,
        advice=ADVICE[section],
        progress=progress,
        log=log,
        checkpoint=checkpoint,
    )
