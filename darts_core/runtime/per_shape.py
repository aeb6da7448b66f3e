"""Pure functions by torch's compiler, once for each shape of their arguments.

Traced and compiled without ``torch.compile``'s front end: that asks at each call, in Python, whether the arguments are still as they were,
which takes as long as a small block, and it gives up on a function after eight shapes.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from darts_core.runtime.compiler import BuildError

Arguments = Sequence[Tensor] | Tensor
"""Of one argument of a function, without gradient."""


class Wanted(NamedTuple):
    """A function and arguments of the shapes that it is to be compiled for."""

    function: Callable[..., Any]
    static: Hashable
    arguments: Sequence[Arguments]


_COMPILED: dict[Hashable, Callable[..., Any]] = {}
_LARGEST: dict[Hashable, int] = {}
_NOTED: list[dict[Hashable, Wanted]] = []


@contextmanager
def noting() -> Iterator[dict[Hashable, Wanted]]:
    """Within, collect what :func:`note` is told, once for each function and shape; the arguments are without numbers."""
    _NOTED.append({})
    try:
        yield _NOTED[-1]
    finally:
        _NOTED.pop()


def note(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> None:
    """Say that ``function`` is computed as it stands where it might be compiled."""
    if _NOTED:
        key = _key(function, static, list(_tensors(arguments)))
        if key not in _NOTED[-1]:
            empty = [_empty(each) if isinstance(each, Tensor) else [_empty(x) for x in each] for each in arguments]
            _NOTED[-1][key] = Wanted(function, static, empty)


def call(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> Any:
    """Return ``function(static, *arguments)``, compiled the first time for their shapes. Raises BuildError if that cannot be done.

    The first dimension of the first tensor is that of the batch. A smaller batch than one that was compiled for, as an epoch may end with,
    is computed by the function as it stands.
    """
    tensors = list(_tensors(arguments))
    known = _COMPILED.get(_key(function, static, tensors))
    if known is None and tensors[0].shape[0] < _LARGEST.get(_alike(function, static, tensors[0]), 0):
        return function(static, *arguments)
    return (known or prepare(function, static, arguments))(tensors)


def prepare(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> Callable[[list[Tensor]], Any]:
    """Compile ``function`` for the shapes of ``arguments`` and return it, to be called with all tensors in a row. Raises BuildError."""
    if sys.version_info >= (3, 13) and torch.__version__ < "2.6":
        raise BuildError(f"torch.compile needs torch 2.6 on Python 3.13, and this is torch {torch.__version__}")
    tensors = list(_tensors(arguments))
    try:
        compiled = _COMPILED[_key(function, static, tensors)] = _compile(function, static, arguments)
    except Exception as error:
        raise BuildError(f"torch.compile failed: {_first_line(error)}") from error
    like = _alike(function, static, tensors[0])
    _LARGEST[like] = max(_LARGEST.get(like, 0), tensors[0].shape[0])
    return compiled


def is_ready(function: Callable[..., Any], static: Hashable, arguments: Sequence[Arguments]) -> bool:
    """Return whether ``function`` is compiled for the shapes of ``arguments``."""
    return _key(function, static, list(_tensors(arguments))) in _COMPILED


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
    with torch.no_grad(), tracing(TracingContext(mode)), _keys_of_any_process():
        compiled = torch._inductor.compile(make_fx(of_flat)(*flat), fakes)
    return lambda tensors: tree_unflatten(list(compiled(*tensors)), found[0])


@contextmanager
def _keys_of_any_process() -> Iterator[None]:
    """Within, torch's cache on disk has the same key for a function in all processes.

    The key is made of pickled arguments, and a memory format is pickled as an attribute of whichever module was the first to import torch.
    """
    before = copyreg.dispatch_table.get(torch.memory_format)
    copyreg.pickle(torch.memory_format, _named)  # type: ignore[arg-type]
    try:
        yield
    finally:
        del copyreg.dispatch_table[torch.memory_format]
        if before is not None:
            copyreg.dispatch_table[torch.memory_format] = before


def _named(memory_format: torch.memory_format) -> tuple[type[str], tuple[str]]:
    return str, (str(memory_format),)


def _key(function: Callable[..., Any], static: Hashable, tensors: Sequence[Tensor]) -> Hashable:
    return (function, static, tensors[0].dtype, tensors[0].device, *((x.shape, x.stride()) for x in tensors))


def _alike(function: Callable[..., Any], static: Hashable, first: Tensor) -> Hashable:
    """Return what is alike for batches of any size."""
    return (function, static, first.shape[1:], first.dtype, first.device)


def _empty(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)


def _tensors(arguments: Sequence[Arguments]) -> Iterator[Tensor]:
    for each in arguments:
        if isinstance(each, Tensor):
            yield each
        else:
            yield from each


def _first_line(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)  # what the compiler said, without the frames around it
    return next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
