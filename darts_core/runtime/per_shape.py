"""Pure functions by ``torch.compile``, once for each shape of their arguments.

Each shape has a code object of its own: what is compiled for others is not looked through at each call, and torch's limit of what one
function may be compiled for (8) is never met.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
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
    try:
        compiled = _compile(function, static, arguments)
        out = compiled(tensors)
    except Exception as error:
        raise BuildError(f"torch.compile failed: {_first_line(error)}") from error
    _COMPILED[key], _LARGEST[like] = compiled, batch
    return out


def forget() -> None:
    """Compile anew from here on."""
    _COMPILED.clear()
    _LARGEST.clear()


def is_compiled() -> int:
    """Return how many functions of shapes are compiled."""
    return len(_COMPILED)


def _compile(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> Callable[[list[Tensor]], Any]:
    flat, structure = tree_flatten(list(arguments))
    found: list[Any] = []

    def of_flat(*tensors: Tensor) -> list[Tensor]:
        values, own = tree_flatten(function(static, *tree_unflatten(list(tensors), structure)))
        found.append(own)
        return values

    with torch.no_grad():
        compiled = torch._inductor.compile(make_fx(of_flat)(*flat), flat)
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
