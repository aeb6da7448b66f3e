"""The two alternating steps of the search: alpha first, then the weights (quark0/darts, cnn/train_search.py)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from darts_core.config import SearchConfig
from darts_core.ops.drawn import drawn_modules, redraw
from darts_core.runtime.optim import sgd
from darts_core.search.bilevel import Batch, InnerStep, frozen
from darts_core.search.method import Method, adam
from darts_core.search.phases import span_of
from darts_core.supernet.carry import carry_optimizers
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.supernet import Supernet


@dataclass(frozen=True)
class WeightStep:
    """What a weight step saw, scalars: loss, accuracy in percent when it is asked for, norm of the weights' gradient before clipping."""

    loss: Tensor
    accuracy: Callable[[], Tensor]
    grad_norm: Tensor


class Bilevel:
    """The optimisers of a supernet and the steps that they take; ``state_dict`` holds both optimisers and the random state.

    What a method draws at random, it draws from ``generator``, on the CPU. An architecture gradient that is a module remembers something
    from step to step: here it starts anew, and its state is saved, too.
    """

    def __init__(self, supernet: Supernet, method: Method, cfg: SearchConfig, *, generator: torch.Generator | None = None) -> None:
        self.supernet = supernet
        self.method = method
        self.cfg = cfg
        self.w = list(supernet.weights().values())
        decay = cfg.weight_decay * method.weight_decay_factor
        self.w_optimizer = sgd(self.w, lr=cfg.lr, momentum=cfg.momentum, weight_decay=decay)
        remembers = isinstance(method.arch_gradient, nn.Module)
        self.arch_gradient = copy.deepcopy(method.arch_gradient) if remembers else method.arch_gradient
        arch_optimizer = partial(adam, betas=supernet.arch_betas) if method.arch_optimizer is adam else method.arch_optimizer
        self.arch_optimizer = arch_optimizer(supernet.arch_parameters(), cfg.arch_lr, cfg.arch_weight_decay)
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.drawn = drawn_modules(supernet)
        self.progress = 0.0
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set what changes along the search to its value in ``epoch``, counted from 0 to ``search.epochs`` - 1."""
        self.progress = epoch / self.cfg.epochs
        if self.supernet.skip_dropout is not None:
            span = span_of(self.method.phases, self.cfg.epochs, epoch)
            rate = self.method.phases[span.number].dropout
            self.supernet.skip_dropout.rate = rate(epoch - span.first, epochs=span.epochs, warmup_epochs=self.method.warmup_epochs)
        if self.method.auxiliary_skip is not None:
            assert self.supernet.auxiliary_weight is not None
            self.supernet.auxiliary_weight.fill_(self.method.auxiliary_skip(self.progress))

    def carry_from(self, earlier: Bilevel) -> None:
        """Take over what the optimisers of an earlier phase know of the parameters that are left."""
        carry_optimizers(
            earlier.supernet,
            self.supernet,
            weights=(earlier.w_optimizer, self.w_optimizer),
            arch=(earlier.arch_optimizer, self.arch_optimizer),
        )

    @property
    def weight_decay(self) -> float:
        """The weight decay of the weights."""
        return float(self.w_optimizer.param_groups[0]["weight_decay"])

    @weight_decay.setter
    def weight_decay(self, value: float) -> None:
        for group in self.w_optimizer.param_groups:
            group["weight_decay"] = value

    def prune(self) -> dict[str, float]:
        """Leave out what has become too light, where the method does so; return the share that is gone, ``pruned``, for the log."""
        pruned, below = self.supernet.pruned, self.method.prune_below
        if pruned is None or below is None:
            return {}
        pruned.prune(self.supernet.mixture(), below)
        return {"pruned": pruned.share()}

    def penalty(self) -> Tensor:
        """Return what the method's penalties add to the validation loss now, a scalar."""
        values = [penalty(self.supernet, self.progress) for penalty in self.method.penalties]
        return torch.stack(values).sum() if values else torch.zeros(())

    def arch_step(self, *, train: Batch, valid: Batch, lr: float) -> Tensor:
        """Move alpha by its gradient on ``valid`` and the penalties'; ``train`` and ``lr`` make the virtual step.

        Return the validation loss, without penalties.
        """
        inner = InnerStep(
            lr=lr * self.supernet.lr_scale(train[0]),
            momentum=self.cfg.momentum,
            weight_decay=self.weight_decay,
            optimizer=self.w_optimizer,
            grad_clip=(self.cfg.grad_clip or None) if self.supernet.clips_virtual_step else None,
        )
        loss = self.arch_gradient(self.supernet, self.supernet.loss, train=train, valid=valid, inner=inner)
        if self.method.penalties:
            alphas = self.supernet.arch_parameters()
            for alpha, grad in zip(alphas, torch.autograd.grad(self.penalty(), alphas, allow_unused=True)):
                if grad is not None and alpha.grad is not None:
                    alpha.grad = alpha.grad + grad
        if self.method.arch_grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.supernet.arch_parameters(), self.method.arch_grad_clip)
        self.arch_optimizer.step()
        self.method.bring_back(self.supernet)
        self.arch_optimizer.zero_grad()
        return loss

    def weight_step(self, train: Batch, *, lr: float) -> WeightStep:
        """Move the weights by their clipped gradient on ``train``; alpha stands still and takes no part in the norm."""
        with frozen(self.supernet.arch_parameters()), self._perturbed(train), self._dropping(train):
            scores, penalty = self.supernet.regularised(train[0])
            loss, accuracy = self.supernet.graded(scores, train[1])
            total = loss if penalty is None else loss + penalty
            # What a sampled path leaves out has no gradient, and so stands still.
            for p, grad in zip(self.w, torch.autograd.grad(total, self.w, allow_unused=True)):
                p.grad = grad
        norm = torch.nn.utils.clip_grad_norm_(self.w, self.cfg.grad_clip or float("inf"))
        for group in self.w_optimizer.param_groups:
            group["lr"] = lr * self.supernet.lr_scale(train[0])
        self.w_optimizer.step()
        self.w_optimizer.zero_grad()
        redraw(self.drawn)
        return WeightStep(loss.detach(), accuracy, norm)

    def _perturbed(self, train: Batch) -> AbstractContextManager[None]:
        if self.method.perturb is None:
            return nullcontext()
        point = self.method.perturb(self.supernet, self.supernet.loss, train, progress=self.progress, generator=self.generator)
        return self.supernet.weighing(point)

    def _dropping(self, train: Batch) -> AbstractContextManager[None]:
        prob = self.method.drop_path_prob * self.progress
        if prob == 0.0:
            return nullcontext()
        assert isinstance(self.supernet, ImageSupernet)  # check_space lets no other here
        sizes = (len(self.supernet.cells), len(self.supernet.shape.sources), len(train[1]))
        kept = torch.rand(sizes, generator=self.generator) < 1.0 - prob
        return self.supernet.dropping(kept.to(train[0]) / (1.0 - prob))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimisers, of the generator, and of an architecture gradient that has one."""
        remembered = {"arch_gradient": self.arch_gradient.state_dict()} if isinstance(self.arch_gradient, nn.Module) else {}
        return {
            "weights": self.w_optimizer.state_dict(),
            "arch": self.arch_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            **remembered,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.w_optimizer.load_state_dict(state["weights"])
        self.arch_optimizer.load_state_dict(state["arch"])
        self.generator.set_state(state["generator"])
        if isinstance(self.arch_gradient, nn.Module):
            self.arch_gradient.load_state_dict(state["arch_gradient"])
