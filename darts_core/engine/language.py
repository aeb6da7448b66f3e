"""Training a language model from scratch, the same for the searched cell and every baseline (quark0/darts, rnn/train.py)."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from darts_core.config import LanguageConfig
from darts_core.data.windows import Window
from darts_core.engine.averaging import Average
from darts_core.engine.loop import DivergedError, Loader, Log, calmer, no_log
from darts_core.engine.training import Row, State, Trained, train_epochs
from darts_core.metrics import RunningMean, perplexity
from darts_core.nets.language_model import LanguageModel, activation_penalty
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.optim import sgd

LOG = logging.getLogger(__name__)
SHOWN = ("train_loss", "train_ppl", "valid_loss", "valid_ppl", "is_averaged")
Section = Literal["retrain", "search"]
ADVICE = {
    "retrain": "Lower retrain.batch_size, retrain.bptt, retrain.hidden or runtime.processes.",
    "search": "Lower search.batch_size, space.bptt or space.hidden.",
}
MAX_ROLL_BACKS = 5  # in a row: from then on the numbers are not chance
Batches = Iterable[tuple[Window, Tensor]]


class LanguageTrainer:
    """A language model and its recipe: SGD, then the mean of its weights once validation stops improving.

    Where a loss is not a number, weights and optimiser go back to the best epoch, and the next epoch draws other masks and windows.
    """

    def __init__(self, network: LanguageModel, cfg: LanguageConfig, *, name: str, section: Section = "retrain") -> None:
        self.network = network
        self.cfg = cfg
        self.name = name
        self.section = section
        self.parameters = list(network.parameters())
        self.optimizer = sgd(self.parameters, lr=cfg.lr, momentum=0.0, weight_decay=cfg.weight_decay)
        self.average: Average | None = None
        self._valid_losses: list[float] = []
        self._good: dict[str, Any] | None = None
        self._roll_backs = 0

    def epoch(self, batches: Batches, *, epoch: int) -> Row:
        """Train one epoch; return mean cross entropy (nats a token), perplexity, learning rate and what happened to the weights."""
        loss = RunningMean()
        is_averaged = self.average is not None
        self.network.train()
        for window, target_N in batches:
            value = self.step(window, target_N)
            if not math.isfinite(value):
                self._roll_back(epoch)
                return {"train_loss": math.nan, "train_ppl": math.nan, "lr": self.cfg.lr, "is_averaged": int(is_averaged), "rolled_back": 1}
            loss.update(value, len(target_N))
        self._roll_backs = 0
        row = {"train_loss": loss.value, "train_ppl": perplexity(loss.value), "lr": self.cfg.lr}
        return row | {"is_averaged": int(is_averaged), "rolled_back": 0}

    def step(self, window: Window, target_N: Tensor) -> float:
        """Take one step, of a learning rate in proportion to the window's length; return the cross entropy before it, in nats."""
        cfg, batch = self.cfg, window.tokens_TB.shape[1]
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.lr * window.share
        state_SBD = self.network.first_state(batch) if window.state_SBD is None else window.state_SBD
        out = self.network.core_output(window.tokens_TB, state_SBD)
        window.next_state = out.state_SBD.detach()
        loss = self.network.mean_loss(out.dropped_TBD, target_N)
        total = loss + activation_penalty(out.raw_TBD, out.dropped_TBD, activation=cfg.activation_penalty, slowness=cfg.slowness_penalty)
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, cfg.grad_clip or float("inf"))
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
        return value

    def assess(self, batches: Batches) -> Row:
        """Return the validation loss and perplexity of the weights that would be used, and begin to average where it is time."""
        with self.average.applied() if self.average is not None else nullcontext():
            loss = mean_loss(self.network, batches)
        losses, cfg = self._valid_losses, self.cfg
        if math.isfinite(loss) and (not losses or loss < min(losses)):
            self._good = self._moving()
        if self.average is None and 0 < cfg.nonmono < len(losses) and loss > min(losses[: -cfg.nonmono]):
            LOG.info("%s %s: the validation loss no longer falls; from here on the weights are averaged.", self.section, self.name)
            self.average = Average(self.parameters)
        losses.append(loss if math.isfinite(loss) else math.inf)
        return {"valid_loss": loss, "valid_ppl": perplexity(loss)}

    def rank(self, row: Row) -> tuple[float]:
        """The best epoch is the one of lowest validation loss."""
        return (-row["valid_loss"] if math.isfinite(row["valid_loss"]) else -math.inf,)

    def weights(self) -> State:
        """Return a copy of the weights, averaged where they are, on the CPU."""
        with self.average.applied() if self.average is not None else nullcontext():
            return {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def _roll_back(self, epoch: int) -> None:
        self._roll_backs += 1
        if self._good is None or self._roll_backs > MAX_ROLL_BACKS:
            raise DivergedError(
                f"The loss of epoch {epoch + 1} of {self.name} is not a number: it diverged. {calmer(self.section, self.cfg.grad_clip)}"
            )
        LOG.warning("%s %s: the loss of epoch %d is not a number; back to the best epoch's weights.", self.section, self.name, epoch + 1)
        random = self.network.noise.get_extra_state()
        self._set_moving(copy.deepcopy(self._good))
        self.network.noise.set_extra_state(random)  # the same masks again would lead to the same place

    def _moving(self) -> dict[str, Any]:
        """Return a copy of weights, optimiser and average."""
        average = None if self.average is None else self.average.state_dict()
        moving = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "average": average}
        return copy.deepcopy(moving)

    def _set_moving(self, moving: dict[str, Any]) -> None:
        self.network.load_state_dict(moving["network"])
        self.optimizer.load_state_dict(moving["optimizer"])
        if moving["average"] is None:
            self.average = None
        else:
            self.average = Average(self.parameters)
            self.average.load_state_dict(moving["average"])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network, optimiser and average, now and in the best epoch, and the validation losses so far."""
        return {**self._moving(), "good": self._good, "valid_losses": list(self._valid_losses), "roll_backs": self._roll_backs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._set_moving(state)
        self._good, self._valid_losses, self._roll_backs = state["good"], list(state["valid_losses"]), int(state["roll_backs"])


class Reader(nn.Module):
    """A language model as a function of tokens (T, B) alone, from an empty state: logits (T * B, V)."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_TB: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.model(tokens_TB, self.model.first_state(tokens_TB.shape[1])).logits_NV
        return logits


@torch.no_grad()
def mean_loss(network: LanguageModel, batches: Batches) -> float:
    """Return the mean cross entropy (nats a token) over a text, in evaluation mode, the state carried from window to window."""
    loss = RunningMean()
    network.eval()
    for window, target_N in batches:
        state_SBD = network.first_state(window.tokens_TB.shape[1]) if window.state_SBD is None else window.state_SBD
        out = network.core_output(window.tokens_TB, state_SBD)
        window.next_state = out.state_SBD
        loss.update(network.mean_loss(out.dropped_TBD, target_N), len(target_N))
    network.train()
    return loss.value


def retrain_language(
    network: LanguageModel,
    *,
    name: str,
    train: Loader,
    valid: Batches,
    cfg: LanguageConfig,
    device: torch.device,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
    section: Section = "retrain",
) -> Trained:
    """Train ``network`` for ``cfg.epochs`` epochs; go on from ``checkpoint`` where it holds a state called ``name``.

    The best epoch is the one of lowest validation loss. ``section`` of ``params.yaml`` is what the recipe is from. Raise
    ``DivergedError`` where the loss is not finite and stays so, ``TrainingError`` where the device's memory is full.
    """
    return train_epochs(
        LanguageTrainer(network.to(device), cfg, name=name, section=section),
        name=name,
        train=train,
        valid=valid,
        epochs=cfg.epochs,
        device=device,
        shown=SHOWN,
        advice=ADVICE[section],
        progress=progress,
        log=log,
        checkpoint=checkpoint,
    )
