"""How a discrete network is computed: by torch's operations, by the C++ kernels, or by torch's compiler. Its module tree stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darts_core.ops.conv import ReluFirst
from darts_core.ops.drop_path import DropPath
from darts_core.ops.native.chain import Chain
from darts_core.ops.native.library import library
from darts_core.runtime.compiler import BuildError

TOLERANCE = 1e-8  # of the kernels beside torch, in float64, of a tensor's largest value; rounding stays below 1e-11
_SHAPES = 256  # as many are compiled; torch's own limit is eight
_BATCH, _SIDE, _SEED = 2, 9, 0


@dataclass(frozen=True, kw_only=True)
class Used:
    """How a network is computed, and a line on why; ``fell_back`` where it was to be another way that failed."""

    name: str
    why: str
    fell_back: bool = False


def use_backend(
    network: nn.Module,
    wanted: str,
    images: Tensor,
    *,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    amp: torch.dtype | None = None,
    trains: bool = True,
) -> Used:
    """Let ``network`` be computed as ``wanted`` says (``eager``, ``native`` or ``compiled``), or else by eager; return which and why.

    ``images`` (B, C, H, W) are like those of a batch, on any device. ``native`` checks its kernels beside torch, and ``compiled`` compiles
    here, on a copy, what such a batch needs: for a training step (with autocast to ``amp``) and validation, or without ``trains`` for
    inference alone. What fails is left to ``eager``. Weights, buffers, their names and torch's random state stay as they are.
    """
    reset_backend(network)
    if wanted == "eager":
        return Used(name="eager", why="eager, as retrain.backend says")
    try:
        if wanted == "native":
            why = _use_kernels(network, device)
        else:
            why = _compile(network, images.to(device, memory_format=memory_format), memory_format=memory_format, amp=amp, trains=trains)
    except _NothingToDoError as reason:
        return Used(name="eager", why=f"eager, for {wanted} {reason}")
    except BuildError as error:
        return Used(name="eager", why=f"eager, for {wanted} cannot be had: {error}", fell_back=True)
    return Used(name=wanted, why=f"{wanted} ({why})")


@contextmanager
def compiled_alone(*used: Used) -> Iterator[None]:
    """Compile nothing more in the body: what comes in other shapes, as the last batch of an epoch may, is computed as it stands."""
    if all(each.name != "compiled" for each in used):
        yield
        return
    with _room_for_shapes():
        if not hasattr(torch.compiler, "set_stance"):  # before torch 2.6 another shape is compiled, too
            yield
            return
        with torch.compiler.set_stance("eager_on_recompile"):
            yield


class _NothingToDoError(Exception):
    """A backend that would change nothing; the message says why."""


def reset_backend(network: nn.Module) -> None:
    """Let ``network`` be computed by torch's operations, as when it was built."""
    for module in network.modules():
        module._compiled_call_impl = None
        if isinstance(module, ReluFirst):
            module.uses_kernels = False


def _use_kernels(network: nn.Module, device: torch.device) -> str:
    known = [module for module in network.modules() if isinstance(module, ReluFirst) and Chain(module.blocks).has_kernel]
    if device.type != "cpu":
        raise BuildError(f"its kernels are for the CPU, and the device is {device}")
    if not known:
        raise _NothingToDoError("has no kernel for any of its operations")
    library()
    kinds = {(type(op), *(p.shape for p in op.parameters()), *(b.geometry((_SIDE, _SIDE)) for b in op.blocks)): op for op in known}
    try:
        error = max(_disagreement(op) for op in kinds.values())
    except RuntimeError as failure:
        raise BuildError(f"the check of its kernels ended with an error: {failure}") from failure
    if not error <= TOLERANCE:
        raise BuildError(f"its kernels failed their check: relative error {error:.0e} in float64, at most {TOLERANCE:.0e} expected")
    for op in known:
        op.uses_kernels = True
    return f"{len(known)} operations; check of {len(kinds)} beside torch: relative error {error:.0e} in float64"


def _disagreement(op: ReluFirst) -> float:
    """Return the largest relative error of the kernels' output, gradients and buffers for a few pixels in float64."""
    generator = torch.Generator().manual_seed(_SEED)
    channels = op.blocks[0].bn.num_features
    x, found = torch.randn(_BATCH, channels, _SIDE, _SIDE, dtype=torch.float64, generator=generator), []
    for uses_kernels in (False, True):
        trial = copy.deepcopy(op).to(device="cpu", dtype=torch.float64).train()
        trial.uses_kernels = uses_kernels
        image = x.clone().requires_grad_()
        out = trial(image)
        (out * torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        found.append([out.detach(), image.grad, *(p.grad for p in trial.parameters()), *(b.double() for b in trial.buffers())])
    pairs = [(theirs, ours) for theirs, ours in zip(*found) if theirs is not None and ours is not None]
    return max(float((theirs - ours).abs().max()) / max(float(theirs.abs().max()), 1e-2) for theirs, ours in pairs)


def _compile(network: nn.Module, images: Tensor, *, memory_format: torch.memory_format, amp: torch.dtype | None, trains: bool) -> str:
    device = images.device
    drops = [part for module in network.modules() for part in vars(module).values() if isinstance(part, DropPath)]
    draws = bool(drops)
    parts = sum(isinstance(module, ReluFirst) for module in network.modules()) if draws else 1
    if not parts:
        raise _NothingToDoError("finds no operation in it to compile")
    others: dict[int, object] = {id(drop): DropPath(torch.Generator()) for drop in drops}  # so that nothing is drawn from the network's own
    trial = copy.deepcopy(network, others).to(device).to(memory_format=memory_format)
    try:
        with _room_for_shapes(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            _mark(trial, draws=draws)
            if trains:
                with torch.autocast(device.type, dtype=amp, enabled=amp is not None):
                    out = trial.train()(images)
                sum(each.float().sum() for each in (out if isinstance(out, tuple) else (out,))).backward()
            with torch.no_grad() if trains else torch.inference_mode():
                trial.eval()(images)
    except Exception as error:
        cause = getattr(error, "inner_exception", error)  # what the compiler said, without the frames around it
        line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise BuildError(f"torch.compile failed: {line}") from error
    _mark(network, draws=draws)
    return f"{parts} operations" if draws else "the whole network"


def _mark(network: nn.Module, *, draws: bool) -> None:
    """Compile the network; where paths are dropped by a generator of one's own, which the compiler does not know, its operations."""
    for module in [each for each in network.modules() if isinstance(each, ReluFirst)] if draws else [network]:
        module.compile(dynamic=False)


@contextmanager
def _room_for_shapes() -> Iterator[None]:
    import torch._dynamo  # takes a second

    with torch._dynamo.config.patch(cache_size_limit=_SHAPES, accumulated_cache_size_limit=_SHAPES):
        yield
