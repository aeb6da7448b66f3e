"""Going back to the architecture before the curvature rose (RobustDARTS, Zela et al., ICLR 2020, arXiv:1909.09656)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from darts_core.search.stop import History


@dataclass(frozen=True, kw_only=True)
class CurvatureRise:
    """The dominant eigenvalue, averaged over ``window`` measurements, exceeds ``limit`` times its average ``lag`` measurements before.

    The epoch that the older average stands for is that in its middle, to which the search goes back, not to one before ``first_epoch``.
    Measurements count from the last restart on, and only epochs in which alpha moves; an average that is not positive says nothing.
    """

    limit: float
    window: int
    lag: int
    first_epoch: int

    def __call__(self, history: History) -> str | None:
        """Judge the last epoch."""
        found = self._averages(history)
        if found is None:
            return None
        epoch, before, now = found
        return (
            f"the dominant eigenvalue has risen from {before:.3g} to {now:.3g} on average since epoch {epoch} "
            f"(method.rise_limit: {self.limit:g})"
        )

    def epoch_before(self, history: History) -> int | None:
        """Return the epoch (from 1) that the search goes back to, where the last epoch shows a rise."""
        found = self._averages(history)
        return None if found is None else found[0]

    @property
    def depth(self) -> int:
        """How many of the last measured epochs the search may go back to."""
        return self.window + self.lag

    def earliest(self, every: int, warmup_epochs: int) -> int:
        """Return the first epoch that can show a rise, measured every so many epochs."""
        skipped = warmup_epochs // every
        middle = max(skipped + self.window // 2, math.ceil(self.first_epoch / every) - 1)
        return (middle - self.window // 2 + self.depth) * every

    def why_never(self, every: int, *, warmup_epochs: int, epochs: int) -> str | None:
        """Return why a search of so many ``epochs`` is over before a rise can show, or None."""
        earliest = self.earliest(every, warmup_epochs)
        if earliest <= epochs:
            return None
        return (
            f"a rise of the eigenvalue shows in epoch {earliest} at the earliest, and search.epochs is {epochs}. Measure more often "
            "(search.hessian_every), or lower method.first_epoch, method.window or method.lag."
        )

    def _averages(self, history: History) -> tuple[int, float, float] | None:
        """Return the epoch before the rise, and both averages; None where there is no rise."""
        if not history or "hessian" not in history[-1]:
            return None
        restarts = history[-1].get("restarts", 0)
        rows = [row for row in history if "hessian" in row and "arch_loss" in row and row.get("restarts", 0) == restarts]
        if len(rows) < self.depth:
            return None
        older = rows[len(rows) - self.depth : len(rows) - self.lag]
        before, now = (sum(float(row["hessian"]) for row in part) / self.window for part in (older, rows[-self.window :]))
        epoch = int(older[self.window // 2]["epoch"])
        return (epoch, before, now) if epoch >= self.first_epoch and before > 0.0 and now > self.limit * before else None


@dataclass(frozen=True, kw_only=True)
class AdaptiveDecay:
    """On a rise, go on from before it with ``factor`` times the weight decay, while that is at most ``limit`` (R-DARTS, ADA)."""

    factor: float = 10.0
    limit: float = 0.03

    def can_raise(self, decay: float) -> bool:
        """Return whether ``decay`` may still be raised."""
        return 0.0 < decay * self.factor <= self.limit * (1.0 + 1e-9)
