"""REINFORCE (Williams, 1992): alpha moves by the accuracy of the architectures that it draws, without a backward pass through them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from darts_core.search.bilevel import Batch, FirstOrder, InnerStep, Loss, set_grad
from darts_core.search.ranges import at_least, in_range
from darts_core.search.skip_rate import SkipRate
from darts_core.supernet.policy import Drawn
from darts_core.supernet.supernet import Supernet

Reward = Literal["accuracy", "loss"]


class Reinforce(nn.Module):
    """(reward - baseline) * d log p / d alpha for each of ``draws`` architectures, all on the validation batch of the step.

    The reward is the ``accuracy`` on the batch, a share from 0 to 1, or minus the ``loss``, plus ``entropy_weight`` times the entropy in
    nats; on average over the draws the gradient is that of the expected reward plus the weighted entropy of the policy, exactly. (The
    published code of ENAS takes no gradient of the entropy itself: melodyguan/enas, src/cifar10/micro_controller.py.)

    The baseline is the average of all rewards so far, in which each step counts ``baseline_decay`` of the one after it; 0 in the first
    step. What ``skip_rate`` says of a draw is taken off its reward, and has a gradient of its own, as the entropy. A step's own rewards
    join it afterwards, so that it depends on no draw that it judges and leaves the estimate unbiased.
    """

    graphs = FirstOrder.graphs  # that of the weight step
    total: Tensor
    weight: Tensor

    def __init__(
        self,
        *,
        reward: Reward = "accuracy",
        entropy_weight: float = 0.0,
        baseline_decay: float = 0.99,
        draws: int = 1,
        skip_rate: SkipRate | None = None,
    ) -> None:
        super().__init__()
        self.reward = reward
        self.entropy_weight = in_range(entropy_weight, "entropy_weight", at_least=0.0)
        self.baseline_decay = in_range(baseline_decay, "baseline_decay", at_least=0.0, below=1.0)
        self.skip_rate = skip_rate
        self.draws = at_least(1, "draws", draws)
        self.operations = 2 * draws + 6
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    def forward(self, supernet: Supernet, loss: Loss, *, train: Batch, valid: Batch, inner: InnerStep) -> Tensor:
        """Set the gradients of the architecture parameters; return the mean validation loss of the architectures that were drawn."""
        drawn = [supernet.drawn() for _ in range(self.draws)]
        outcomes = [self._outcome(supernet, loss, valid, each) for each in drawn]
        rewards_S = torch.stack([reward for _, reward in outcomes])
        penalty_S = (
            rewards_S.new_zeros(len(drawn)) if self.skip_rate is None else torch.stack([self.skip_rate(each.skips) for each in drawn])
        )
        rewards_S = rewards_S - penalty_S.detach()
        advantage_S = rewards_S - self.baseline.to(rewards_S)
        log_prob_S, entropy_S = (torch.stack([getattr(each, name) for each in drawn]) for name in ("log_prob", "entropy"))
        objective = (advantage_S * log_prob_S + self.entropy_weight * entropy_S - penalty_S).mean()
        alphas = supernet.arch_parameters()
        set_grad(alphas, torch.autograd.grad(-objective, alphas, allow_unused=True, materialize_grads=True))
        self._remember(rewards_S)
        return torch.stack([value for value, _ in outcomes]).mean()

    @property
    def baseline(self) -> Tensor:
        """The average reward of the steps so far, a scalar."""
        return self.total / self.weight if self.weight > 0.0 else self.total

    @torch.no_grad()
    def _outcome(self, supernet: Supernet, loss: Loss, valid: Batch, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Return the loss of an architecture and its reward."""
        with supernet.imposing(drawn.weights):
            logits = supernet(valid[0])
        value = loss(logits, valid[1])
        gained = (logits.argmax(dim=1) == valid[1]).to(value.dtype).mean() if self.reward == "accuracy" else -value
        return value, gained + self.entropy_weight * drawn.entropy.detach()

    def _remember(self, rewards_S: Tensor) -> None:
        self.total.mul_(self.baseline_decay).add_((1.0 - self.baseline_decay) * rewards_S.mean().to(self.total))
        self.weight.mul_(self.baseline_decay).add_(1.0 - self.baseline_decay)
