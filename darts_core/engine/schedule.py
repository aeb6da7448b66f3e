"""Learning rates as plain functions of the epoch: no state to save, the same value however often a run was resumed."""

import math


def cosine(epoch: int, *, epochs: int, lr: float, lr_min: float, warmup_epochs: int = 0) -> float:
    """Return the rate of ``epoch`` (from 0): linear up to ``lr`` over the warm-up, then half a cosine towards ``lr_min``.

    The first epoch has ``lr`` and the last one is a step above ``lr_min``, as in quark0/darts: 0.025 -> 0.001 over 50 epochs
    ends at 1.0236793e-3 (arXiv:1608.03983, without restarts).
    """
    if epoch < warmup_epochs:
        return lr * (epoch + 1) / (warmup_epochs + 1)
    progress = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return lr_min + 0.5 * (lr - lr_min) * (1.0 + math.cos(math.pi * progress))
