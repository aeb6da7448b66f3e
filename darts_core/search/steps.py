"""The two alternating steps of the search: alpha first, then the weights (quark0/darts, cnn/train_search.py)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.config import SearchConfig
from darts_core.runtime.optim import sgd
from darts_core.search.bilevel import Batch, InnerStep, frozen
from darts_core.search.method import Method, adam
from darts_core.supernet.supernet import Supernet


@dataclass(frozen=True)
class WeightStep:
    """What a weight step saw: loss (scalar), logits (B, K), norm of the weights' gradient before clipping (scalar)."""

    loss: Tensor
    logits: Tensor
    grad_norm: Tensor


class Bilevel:
    """The optimisers of a supernet and the steps that they take; ``state_dict`` holds both optimisers and the random state.

    What a method draws at random, it draws from ``generator``, on the CPU.
    """

    def __init__(self, supernet: Supernet, method: Method, cfg: SearchConfig, *, generator: torch.Generator | None = None) -> None:
        self.supernet = supernet
        self.method = method
        self.cfg = cfg
        self.w = list(supernet.weights().values())
        self.w_optimizer = sgd(self.w, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
        arch_optimizer = partial(adam, betas=supernet.arch_betas) if method.arch_optimizer is adam else method.arch_optimizer
        self.arch_optimizer = arch_optimizer(supernet.arch_parameters(), cfg.arch_lr, cfg.arch_weight_decay)
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.progress = 0.0
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set what changes along the search to its value in ``epoch``, counted from 0 to ``search.epochs`` - 1."""
        self.progress = epoch / self.cfg.epochs
        if self.method.auxiliary_skip is not None:
            assert self.supernet.auxiliary_weight is not None
            self.supernet.auxiliary_weight.fill_(self.method.auxiliary_skip(self.progress))

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
            weight_decay=self.cfg.weight_decay,
            optimizer=self.w_optimizer,
            grad_clip=(self.cfg.grad_clip or None) if self.supernet.clips_virtual_step else None,
        )
        loss = self.method.arch_gradient(self.supernet, F.cross_entropy, train=train, valid=valid, inner=inner)
        if self.method.penalties:
            alphas = self.supernet.arch_parameters()
            for alpha, grad in zip(alphas, torch.autograd.grad(self.penalty(), alphas, allow_unused=True)):
                if grad is not None and alpha.grad is not None:
                    alpha.grad = alpha.grad + grad
        self.arch_optimizer.step()
        self.method.bring_back(self.supernet)
        self.arch_optimizer.zero_grad()
        return loss

    def weight_step(self, train: Batch, *, lr: float) -> WeightStep:
        """Move the weights by their clipped gradient on ``train``; alpha stands still and takes no part in the norm."""
        with frozen(self.supernet.arch_parameters()), self._perturbed(train):
            logits, penalty = self.supernet.regularised(train[0])
            loss = F.cross_entropy(logits, train[1])
            total = loss if penalty is None else loss + penalty
            # What a sampled path leaves out has no gradient, and so stands still.
            for p, grad in zip(self.w, torch.autograd.grad(total, self.w, allow_unused=True)):
                p.grad = grad
        norm = torch.nn.utils.clip_grad_norm_(self.w, self.cfg.grad_clip or float("inf"))
        for group in self.w_optimizer.param_groups:
            group["lr"] = lr * self.supernet.lr_scale(train[0])
        self.w_optimizer.step()
        self.w_optimizer.zero_grad()
        return WeightStep(loss.detach(), logits.detach(), norm)

    def _perturbed(self, train: Batch) -> AbstractContextManager[None]:
        if self.method.perturb is None:
            return nullcontext()
        point = self.method.perturb(self.supernet, F.cross_entropy, train, progress=self.progress, generator=self.generator)
        return self.supernet.weighing(point)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimisers and of the generator."""
        return {
            "weights": self.w_optimizer.state_dict(),
            "arch": self.arch_optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both optimisers and the generator."""
        self.w_optimizer.load_state_dict(state["weights"])
        self.arch_optimizer.load_state_dict(state["arch"])
        self.generator.set_state(state["generator"])
