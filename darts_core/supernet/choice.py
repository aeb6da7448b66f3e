"""Which backend computes a supernet, and whether it may be trusted on this device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.ops.conv import ReluFirst
from darts_core.ops.native.library import library
from darts_core.runtime import per_shape
from darts_core.runtime.compiler import BuildError
from darts_core.supernet.ahead import Others
from darts_core.supernet.backend import BACKENDS, Backend, Compiled, Reference
from darts_core.supernet.cell import SearchCell
from darts_core.supernet.shared import POOLS
from darts_core.supernet.supernet import Supernet

EXACT_TOLERANCE = 1e-8  # in float64, of a tensor's largest value; rounding stays below 1e-12
KERNEL_TOLERANCE = 2e-2  # in float32, of the whole gradient's length; kinks that rounding moves across stay below 1e-3
_BATCH, _SIZE, _SEED = 4, 16, 0
_LARGEST_SIDE = 64  # of the images of the check: larger ones bring no other kernels, but take the memory that the search is short of
_NOISE = 1e-6  # a tensor this much smaller than the largest of its kind is rounding: states whose batch mean is zero, say

NATIVE = ("native", "eager")
LADDERS = {"auto": ("eager",), "native": NATIVE, "compiled": ("compiled", "eager")}
"""What is tried, one after the other; below it stands the reference."""

LONG_JOB = 1.5e12
"""Operations from which on ``auto`` tries ``native`` on a CPU: building it takes up to 45 s, and eager, at some 1e10 operations a second,
loses as much by about 0.8e12; of a recurrent cell 15 s and, at 4e10 a second, of which native takes two thirds of the time, 1.8e12. It is
the job that decides, not whether the library is there: a search repeated takes the same backend."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A backend and a line on why; ``fell_back`` where another one would have been taken, had it worked and agreed with the reference."""

    backend: Backend
    why: str
    fell_back: bool = False


def choose_backend(
    supernet: Supernet, wanted: str, device: torch.device, *, size: tuple[int, int], batch: int = _BATCH, operations: float = 0.0
) -> Choice:
    """Return the backend called ``wanted``, or the next one where it does not agree with the reference on ``device``.

    ``auto`` is native for a job of at least ``LONG_JOB`` operations on a CPU, else eager; native and compiled are eager where no compiler
    is found; and eager is the reference where the check fails. ``size`` is that of the images, (H, W), and ``batch`` how many a step has.
    The weights of ``supernet`` are read, and nothing of it is changed.
    """
    if wanted not in LADDERS:
        return Choice(backend=BACKENDS[wanted](), why=f"{wanted}, as search.backend says")
    refused: list[str] = []
    fell_back = False
    for name in NATIVE if wanted == "auto" and device.type == "cpu" and operations >= LONG_JOB else LADDERS[wanted]:
        backend: Backend = Compiled(least_batch=batch) if name == "compiled" else BACKENDS[name]()
        because = f", for {'; '.join(refused)}" if refused else ""
        try:
            if own := supernet.only_for_reference():
                raise BuildError(f"it has no kernel for {', '.join(own)}")
            if name in ("native", "compiled"):
                _check_operations(supernet)
            if name == "native":
                _check_kernels(supernet, device)
            if isinstance(backend, Compiled):
                with Others(device) as others:
                    exact = self_check(supernet, backend, device)
                    kernels = compiler_check(supernet, device, size=size, batch=batch, others=others)
            else:
                exact, kernels = self_check(supernet, backend, device), kernel_check(supernet, backend, device, size=size)
        except BuildError as error:
            refused.append(f"{name} cannot be had: {error}")
            fell_back |= wanted == name
        except RuntimeError as error:
            fell_back = True
            reason = str(error).partition("\n")[0]
            refused.append(f"the self-check of {name} ended with an error: {reason}")
        else:
            found = f"relative error {exact:.0e} in float64 and {kernels:.0e} in float32"
            if exact <= EXACT_TOLERANCE and kernels <= KERNEL_TOLERANCE:
                why = f"{name}{because} (self-check against reference: {found})"
                return Choice(backend=backend, why=why, fell_back=fell_back)
            fell_back = True
            limits = f"at most {EXACT_TOLERANCE:.0e} and {KERNEL_TOLERANCE:.0e} expected"
            refused.append(f"{name} failed its self-check: {found}, {limits}")
    return Choice(backend=Reference(), why=f"reference, for {'; '.join(refused)}", fell_back=True)


def _check_operations(supernet: Supernet) -> None:
    """Raise ``BuildError`` where nothing that is mixed is made of what native and compiled know: separable blocks, normalised pools."""
    edges = [edge for cell in supernet.modules() if isinstance(cell, SearchCell) for edge in cell.edges]
    named = {name: op for edge in edges if isinstance(edge, nn.ModuleDict) for name, op in edge.items()}
    if named and not any(_has_kernel(op) for op in named.values()):
        raise BuildError(f"it has no kernel for any of {', '.join(named)}")


def _has_kernel(op: nn.Module) -> bool:
    if isinstance(op, ReluFirst):
        return bool(op.blocks) and all(block.has_kernel for block in op.blocks)
    return isinstance(op, nn.Sequential) and isinstance(op[0], POOLS)


def _check_kernels(supernet: Supernet, device: torch.device) -> None:
    if device.type != "cpu":
        raise BuildError(f"its kernels are for the CPU, and the device is {device}")
    library(supernet.kernels)


def self_check(supernet: Supernet, backend: Backend, device: torch.device) -> float:
    """Return the largest relative error of ``backend`` beside the reference: loss, gradients and buffers of one batch in float64."""
    size = (_SIZE, _SIZE)
    # What is compiled is compiled for one precision, in minutes: here its formulas are checked, by compiler_check what became of them.
    checked = Compiled(compiles=False) if isinstance(backend, Compiled) else backend
    expected, found = (_one_pass(supernet, each, device, dtype=torch.float64, size=size) for each in (Reference(), checked))
    return max(_largest_error(found[kind], expected[kind]) for kind in expected)


def kernel_check(supernet: Supernet, backend: Backend, device: torch.device, *, size: tuple[int, int]) -> float:
    """Return how far the gradient of one batch, as one vector, is from the reference's: float32, the kernels that the search will use.

    Images of more than 64 pixels a side are cut to 64, or 65 if odd. Cells are computed one at a time (``lean``), which changes no number.
    """
    height, width = (min(side, _LARGEST_SIDE + side % 2) for side in size)
    size = (height, width)
    return _distance([_one_pass(supernet, each, device, dtype=torch.float32, size=size) for each in (Reference(), backend)])


def compiler_check(supernet: Supernet, device: torch.device, *, size: tuple[int, int], batch: int, others: Others) -> float:
    """Return how far the gradient of one batch, as one vector, is from that of the same functions as they stand, in float32.

    Size and batch are the search's, so that the check compiles what the search will use, and nothing else, with the help of ``others``.
    """
    with per_shape.noting() as wanted:
        expected = _one_pass(supernet, Compiled(compiles=False), device, dtype=torch.float32, size=size, batch=batch)
    others.compile(wanted.values())
    return _distance([expected, _one_pass(supernet, Compiled(), device, dtype=torch.float32, size=size, batch=batch)])


def _distance(passes: Sequence[dict[str, dict[str, Tensor]]]) -> float:
    gradients = [each["gradient"] for each in passes]
    expected, found = (torch.cat([gradient[name].double().flatten() for name in sorted(gradient)]) for gradient in gradients)
    return _or_infinite(float((found - expected).norm()) / (float(expected.norm()) or 1.0))


def _largest_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    largest = max((float(value.abs().max()) for value in expected.values()), default=0.0) or 1.0

    def error(name: str) -> float:
        scale = max(float(expected[name].abs().max()), _NOISE * largest)
        return _or_infinite(float((found[name] - expected[name]).abs().max()) / scale)

    return max((error(name) for name in expected), default=0.0)


def _or_infinite(error: float) -> float:
    return error if error == error else float("inf")  # not a number is no agreement


def _one_pass(
    supernet: Supernet, backend: Backend, device: torch.device, *, dtype: torch.dtype, size: tuple[int, int], batch: int = _BATCH
) -> dict[str, dict[str, Tensor]]:
    trial = copy.deepcopy(supernet).to(dtype).train()
    trial.use(backend, device, is_lean=trial.can_be_lean)
    inputs, targets = trial.sample(batch, size=size, dtype=dtype, device=device, generator=torch.Generator().manual_seed(_SEED))
    loss = trial.loss(trial.scores(inputs), targets)
    loss.backward()
    return {
        "loss": {"loss": loss.detach()},
        "gradient": {name: p.grad for name, p in trial.named_parameters() if p.grad is not None},
        "buffer": {name: value for name, value in trial.named_buffers() if value.is_floating_point()},
        "count": {name: value.double() for name, value in trial.named_buffers() if not value.is_floating_point()},
    }
