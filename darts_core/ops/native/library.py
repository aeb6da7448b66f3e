"""The libraries of ``cell.cpp`` and ``recurrent.cpp``: each built on first use, and their arguments as C sees them, field by field."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Sequence
from ctypes import POINTER, Array, Structure, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch

from darts_core.runtime.compiler import BuildError, load_library

CELL = Path(__file__).with_name("cell.cpp")
RECURRENT = Path(__file__).with_name("recurrent.cpp")
SUFFIXES = {torch.float32: "float32", torch.float64: "float64"}
OUTCOMES = {1: "no kernel for the geometry of a block", 2: "not enough memory", 3: "an error inside the kernels", 4: "a class out of range"}


class Geometry(Structure):
    """Of a block."""

    _fields_ = [(name, c_int64) for name in ("batch", "channels", "height", "width", "kernel", "stride", "padding", "dilation")] + [
        (name, c_int64) for name in ("out_height", "out_width", "threads")
    ]


class BlockArguments(Structure):
    """A block's weights, buffers, maps and gradients."""

    _fields_ = [
        ("geometry", Geometry),
        *((name, c_void_p) for name in ("depthwise", "pointwise", "running_mean", "running_var", "tracked")),
        ("eps", c_double),
        ("momentum", c_double),
        ("is_training", c_int64),
        *((name, c_void_p) for name in ("y", "moments", "grad_depthwise", "grad_pointwise")),
    ]


class PoolArguments(Structure):
    """A pooled state."""

    _fields_ = [("state", c_int64), ("is_max", c_int64), ("stride", c_int64), ("eps", c_double), ("raw", c_void_p), ("moments", c_void_p)]


class TermArguments(Structure):
    """What is added to a node."""

    _fields_ = [
        *((name, c_int64) for name in ("kind", "number", "count", "state")),
        ("weight", c_double),
        *((name, c_void_p) for name in ("running_mean", "running_var", "tracked")),
        ("momentum", c_double),
        ("is_training", c_int64),
    ]


class StateArguments(Structure):
    """A state of the cell."""

    _fields_ = [("x", c_void_p), ("height", c_int64), ("width", c_int64), ("place", c_int64), ("grad", c_void_p)]


class CellArguments(Structure):
    """A whole cell."""

    _fields_ = [
        *((name, c_int64) for name in ("batch", "channels", "threads", "leaves", "nodes", "places", "out_is_rectified")),
        ("state", POINTER(StateArguments)),
        ("terms", POINTER(c_int64)),
        ("term", POINTER(TermArguments)),
        ("block", POINTER(BlockArguments)),
        ("pools", c_int64),
        ("pool", POINTER(PoolArguments)),
        ("map", POINTER(c_void_p)),
        ("grad_map", POINTER(c_void_p)),
        *((name, c_void_p) for name in ("out", "grad_out", "grad_weight")),
    ]


class AffineArguments(Structure):
    """Scale and shift of a block's BatchNorm."""

    _fields_ = [(name, c_void_p) for name in ("gamma", "beta", "grad_gamma", "grad_beta")]


class ChainArguments(Structure):
    """Blocks in a row."""

    _fields_ = [
        ("blocks", c_int64),
        ("block", POINTER(BlockArguments)),
        ("affine", POINTER(AffineArguments)),
        *((name, c_void_p) for name in ("x", "out", "grad", "grad_x")),
    ]


class Projection(Structure):
    """A convolution of one pixel."""

    _fields_ = [("weight", c_void_p), ("grad_weight", c_void_p), ("channels", c_int64), ("start", c_int64)]


class FitArguments(Structure):
    """Convolutions of one pixel side by side, and their BatchNorm."""

    _fields_ = [
        *((name, c_int64) for name in ("batch", "channels_in", "height", "width", "channels", "step", "out_height", "out_width")),
        *((name, c_int64) for name in ("threads", "is_training", "rectifies", "projections")),
        ("projection", POINTER(Projection)),
        *((name, c_void_p) for name in ("x", "y", "running_mean", "running_var", "tracked")),
        ("eps", c_double),
        ("momentum", c_double),
        *((name, c_void_p) for name in ("rstd", "grad", "grad_x")),
    ]


class StepsArguments(Structure):
    """All time steps of a recurrent cell."""

    _fields_ = [
        *((name, c_int64) for name in ("steps", "batch", "width", "nodes", "threads")),
        ("w", POINTER(c_void_p)),
        ("packed", c_void_p),
        ("pack", c_int64),
        *((name, c_void_p) for name in ("weights", "mask", "mean", "var")),
        ("eps", c_double),
        *(
            (name, c_void_p)
            for name in ("product", "first", "gates", "made", "states", "rstd", "mean_out", "var_out", "outputs", "seen", "seen_before")
        ),
        *((name, c_void_p) for name in ("grad_outputs", "base", "direct", "back", "direct_before", "back_before")),
        *((name, c_void_p) for name in ("grad_node", "grad_made", "grad_gates", "grad_weights")),
        ("grad_w", POINTER(c_void_p)),
        ("packed_grad", c_void_p),
    ]


class DecoderArguments(Structure):
    """A linear layer and its cross entropy."""

    _fields_ = [
        *((name, c_int64) for name in ("rows", "width", "classes", "threads")),
        *((name, c_void_p) for name in ("x", "weight", "bias", "targets", "loss", "is_found", "grad_x", "grad_weight", "grad_bias")),
    ]


WIDEST_PANEL = 32  # columns of packed matrices are rounded up to a multiple of at most this
_STEP = (POINTER(StepsArguments), c_int64, c_int64)
FUNCTIONS: dict[Path, dict[str, tuple[Any, ...]]] = {
    CELL: {
        "cell_forward": (POINTER(CellArguments),),
        "cell_backward": (POINTER(CellArguments),),
        "chain_forward": (POINTER(ChainArguments),),
        "chain_backward": (POINTER(ChainArguments),),
        "fit_forward": (POINTER(FitArguments),),
        "fit_backward": (POINTER(FitArguments),),
    },
    RECURRENT: {
        "recurrent_forward": _STEP,
        "recurrent_backward": _STEP,
        "decoder": (POINTER(DecoderArguments),),
    },
}
_OPENMP = re.compile(r"/lib[gi]?omp[^/]*\.so[^/]*$")
_LETTERS = {c_int64: "q", c_void_p: "P", c_double: "d"}


@cache
def fields_of(kind: type[Structure]) -> tuple[tuple[str, str], ...]:
    """Return the name of each field and its letter in :mod:`struct`, those of an inner structure in its place."""
    found: list[tuple[str, str]] = []
    for name, of, *_ in kind._fields_:
        found += [(name, _LETTERS[of])] if of in _LETTERS else fields_of(of)
    return tuple(found)


def array(kind: type[Structure], values: Sequence[Any]) -> Array[Any]:
    """Return an array of ``kind`` from the values of its fields, element after element; a null pointer is 0. Far quicker than ctypes."""
    letters = "".join(letter for _, letter in fields_of(kind))
    count = len(values) // len(letters)
    return (kind * count).from_buffer_copy(struct.pack(letters * count, *values))


@cache
def library(source: Path = CELL) -> ctypes.CDLL:
    """Return the loaded kernels of ``source``, ``CELL`` or ``RECURRENT``, built on first use. Raises BuildError."""
    loaded = load_library(source)
    try:
        for suffix in SUFFIXES.values():
            for name, arguments in FUNCTIONS[source].items():
                getattr(loaded, f"{name}_{suffix}").argtypes = arguments
        loaded.use_runner.argtypes = [c_void_p]
        loaded.use_runner.restype = None
    except AttributeError as error:
        raise BuildError(f"{loaded._name} is another library: {error}") from error
    loaded.use_runner(runner())
    return loaded


def runner() -> int | None:
    """Return where ``GOMP_parallel`` of the OpenMP library that torch computes with lies in memory; None where it is not found.

    With None the kernels start threads of their own, beside which torch's, while they spin, take a core away.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        loaded = {line.split(maxsplit=5)[5] for line in lines if _OPENMP.search(line)}
        own = {path for path in loaded if Path(path).is_relative_to(Path(torch.__file__).parent)}  # others have brought theirs, too
        (path,) = own or loaded
        return ctypes.cast(ctypes.CDLL(path).GOMP_parallel, c_void_p).value
    except (OSError, ValueError, AttributeError):
        return None


def is_available(source: Path = CELL) -> bool:
    """Whether the kernels can be used here; builds them if need be."""
    try:
        library(source)
    except BuildError:
        return False
    return True


def run(name: str, dtype: torch.dtype, arguments: Structure) -> None:
    """Call ``name``, one of the ``FUNCTIONS`` of ``CELL``. Raises RuntimeError."""
    check(name, getattr(library(), f"{name}_{SUFFIXES[dtype]}")(ctypes.byref(arguments)))


def check(name: str, outcome: int) -> None:
    """Raise RuntimeError for what ``name`` returned, unless that is 0."""
    if outcome:
        raise RuntimeError(f"native kernels, {name}: {OUTCOMES.get(outcome, outcome)}.")
