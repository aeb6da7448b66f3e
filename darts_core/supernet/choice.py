"""Which backend computes a supernet, and whether it may be trusted on this device."""

from __future__ import annotations

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.supernet.backend import Backend, Eager, Reference
from darts_core.supernet.supernet import Supernet

BackendName = Literal["auto", "reference", "eager"]
TOLERANCE = 1e-8  # of a tensor's largest value, in float64; rounding stays below 1e-12
_BATCH, _SIZE, _SEED = 4, 16, 0


def choose_backend(supernet: Supernet, wanted: BackendName, device: torch.device) -> tuple[Backend, str]:
    """Return the backend called ``wanted`` and a line on why; ``auto`` is the fastest that agrees with the reference on ``device``.

    The weights of ``supernet`` are read and its buffers left alone.
    """
    if wanted == "reference":
        return Reference(), "reference, as search.backend says"
    if wanted == "eager":
        return Eager(), "eager, as search.backend says"
    error = self_check(supernet, Eager(), device)
    if error <= TOLERANCE:
        return Eager(), f"eager (self-check against reference: largest relative error {error:.0e})"
    return Reference(), f"reference, for eager failed its self-check: relative error {error:.0e}, at most {TOLERANCE:.0e} expected"


def self_check(supernet: Supernet, backend: Backend, device: torch.device) -> float:
    """Return the largest relative error of ``backend`` beside the reference: loss, gradients and buffers of one batch in float64."""
    expected, found = (_one_pass(supernet, each, device) for each in (Reference(), backend))
    return max(_relative_error(found[name], value) for name, value in expected.items())


def _relative_error(found: Tensor, expected: Tensor) -> float:
    error = float((found.double() - expected.double()).abs().max()) / (float(expected.double().abs().max()) or 1.0)
    return error if error == error else float("inf")  # not a number is no agreement


def _one_pass(supernet: Supernet, backend: Backend, device: torch.device) -> dict[str, Tensor]:
    trial = copy.deepcopy(supernet).double().train()
    trial.use(backend, device)
    generator = torch.Generator().manual_seed(_SEED)
    channels, classes = trial.in_channels, trial.classifier.out_features
    images = torch.randn(_BATCH, channels, _SIZE, _SIZE, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (_BATCH,), generator=generator)
    loss = F.cross_entropy(trial(images.to(device, memory_format=backend.memory_format(device))), labels.to(device))
    loss.backward()
    gradients = {f"gradient of {name}": p.grad for name, p in trial.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients, **dict(trial.named_buffers())}
