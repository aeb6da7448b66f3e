"""Pure functions by torch's compiler, once for each shape of their arguments.

Traced and compiled without ``torch.compile``'s front end: that asks at each call, in Python, whether the arguments are still as they were,
which takes as long as a small block, and it gives up on a function after eight shapes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from darts_core.runtime.compiler import BuildError

Arguments = Sequence[Tensor] | Tensor
"""Of one argument of a function, without gradient."""

_COMPILED: dict[Hashable, Callable[..., Any]] = {}
_LARGEST: dict[Hashable, int] = {}


def call(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> Any:
    """Return ``function(static, *arguments)``, compiled the first time for their shapes. Raises BuildError if that cannot be done.

    The first dimension of the first tensor is that of the batch. A smaller batch than one that was compiled for, as an epoch may end with,
    is computed by the function as it stands.
    """
    tensors = list(_tensors(arguments))
    batch, like = tensors[0].shape[0], (function, static, tensors[0].shape[1:], tensors[0].dtype, tensors[0].device)
    if batch < _LARGEST.get(like, 0):
        return function(static, *arguments)
    key = (function, static, tensors[0].dtype, tensors[0].device, *((x.shape, x.stride()) for x in tensors))
    known = _COMPILED.get(key)
    if known is not None:
        return known(tensors)
    if sys.version_info >= (3, 13) and torch.__version__ < "2.6":
        raise BuildError(f"torch.compile needs torch 2.6 on Python 3.13, and this is torch {torch.__version__}")
    try:
        _COMPILED[key] = _compile(function, static, arguments)
    except Exception as error:
        raise BuildError(f"torch.compile failed: {_first_line(error)}") from error
    _LARGEST[like] = batch
    return _COMPILED[key](tensors)


def forget() -> None:
    """Compile anew from here on."""
    _COMPILED.clear()
    _LARGEST.clear()


def count() -> int:
    """Return how many functions of shapes are compiled."""
    return len(_COMPILED)


def _compile(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> Callable[[list[Tensor]], Any]:
    import torch._inductor  # these take a second to import
    from torch._guards import TracingContext, tracing
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    flat, structure = tree_flatten(list(arguments))
    found: list[Any] = []

    def of_flat(*tensors: Tensor) -> list[Tensor]:
        values, own = tree_flatten(function(static, *tree_unflatten(list(tensors), structure)))
        found.append(own)
        return values

    # The compiler keeps what it has made on disk only where somebody knows the shapes' symbols. Here there are none: all shapes are fixed.
    mode = FakeTensorMode(shape_env=ShapeEnv())
    fakes: list[Any] = [mode.from_tensor(x, static_shapes=True) for x in flat]
    with torch.no_grad(), tracing(TracingContext(mode)):
        compiled = torch._inductor.compile(make_fx(of_flat)(*flat), fakes)
    return lambda tensors: tree_unflatten(list(compiled(*tensors)), found[0])


def _tensors(arguments: Sequence[Arguments]) -> Iterator[Tensor]:
    for each in arguments:
        if isinstance(each, Tensor):
            yield each
        else:
            yield from each


def _first_line(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)  # what the compiler said, without the frames around it
    return next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
