"""How a supernet is computed: the published forward, or a faster one over the same modules (``search.backend``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.ops.conv import ReluFirst
from darts_core.ops.depthwise import DepthwiseConv2d
from darts_core.runtime.workspace import Workspace
from darts_core.supernet.candidates import Candidates, kind_of
from darts_core.supernet.compiled import CompiledSource, compiled_total
from darts_core.supernet.edgewise import EdgewiseSource, edgewise_total
from darts_core.supernet.native import NativeSource, compute, fitted, native_total
from darts_core.supernet.shared import SharedSource, rectified_concat
from darts_core.supernet.source import PlainSource, Source, Term, plain_total


class Backend(Protocol):
    """The steps of a forward pass. What ``enter`` and ``leave`` return, only ``preprocess`` reads."""

    name: ClassVar[str]

    def prepare(self, supernet: nn.Module, device: torch.device) -> None:
        """Bring the modules into the form that this backend is fastest in."""
        ...

    def memory_format(self, device: torch.device) -> torch.memory_format:
        """Return the layout of images and weights."""
        ...

    def enter(self, s: Tensor) -> Tensor:
        """Take an output of the stem."""
        ...

    def preprocess(self, block: ReluFirst, s: Tensor) -> Tensor:
        """Fit a cell's input to its width."""
        ...

    def source(self, x: Tensor) -> Source:
        """Return a state as its edges see it."""
        ...

    def total(self, terms: Iterable[Term]) -> Tensor:
        """Return a node's state."""
        ...

    def leave(self, states: Sequence[Source], *, is_last: bool) -> Tensor:
        """Return a cell's output: of the last cell the concatenated states, of others whatever ``preprocess`` expects."""
        ...

    def forgetting_edges(self) -> Backend | None:
        """Return the backend that keeps nothing of an edge's convolutions; None where whole cells are to be computed again instead."""
        ...

    def forgotten_cells(self) -> Backend:
        """Return the backend of whole cells of which nothing is kept: it is computed again, or no gradient is asked for."""
        ...

    def differentiable_twice(self) -> Backend:
        """Return the backend that takes over, on the same modules and in the same layout, where a gradient is differentiated again."""
        ...


class Reference:
    """The published forward, operation by operation, in the library's default layout: slow, and the oracle of the others."""

    name: ClassVar[str] = "reference"

    def prepare(self, supernet: nn.Module, device: torch.device) -> None:
        """Use the library's own backward of depthwise convolutions."""
        _set_exact_backward(supernet, own=False)

    def memory_format(self, device: torch.device) -> torch.memory_format:
        """Return the contiguous layout."""
        return torch.contiguous_format

    def enter(self, s: Tensor) -> Tensor:
        """Return the stem's output as it is."""
        return s

    def preprocess(self, block: ReluFirst, s: Tensor) -> Tensor:
        """Apply the block."""
        out: Tensor = block(s)
        return out

    def source(self, x: Tensor) -> Source:
        """Return a state that shares nothing."""
        return PlainSource(x)

    def total(self, terms: Iterable[Term]) -> Tensor:
        """Return the sum."""
        return plain_total(terms)

    def leave(self, states: Sequence[Source], *, is_last: bool) -> Tensor:
        """Return the concatenated states."""
        return torch.cat([state.x for state in states], dim=1)

    def forgetting_edges(self) -> None:
        """Return None."""

    def forgotten_cells(self) -> Backend:
        """Return itself."""
        return self

    def differentiable_twice(self) -> Backend:
        """Return itself."""
        return self


class Eager:
    """Plain PyTorch that computes once what several edges need; on the CPU channels last and with a depthwise backward of our own.

    With ``forgets`` little is kept for the gradients and convolutions are computed again. With ``is_twice`` each operation is a function
    of autograd, whose gradient can be differentiated; otherwise, on the CPU, a node's convolutions are one. ``known`` remembers what
    operations are.
    """

    name: ClassVar[str] = "eager"

    def __init__(self, *, forgets: bool = False, is_twice: bool = False, known: Candidates | None = None) -> None:
        self.forgets = forgets
        self._is_twice = is_twice
        self._known = Candidates() if known is None else known

    def prepare(self, supernet: nn.Module, device: torch.device) -> None:
        """Use our backward of depthwise convolutions, which helps the CPU alone."""
        _set_exact_backward(supernet, own=device.type == "cpu")

    def memory_format(self, device: torch.device) -> torch.memory_format:
        """Return channels last on the CPU, where it is about twice as fast; MIOpen gains nothing from it."""
        return torch.channels_last if device.type == "cpu" else torch.contiguous_format

    def enter(self, s: Tensor) -> Tensor:
        """Rectify the stem's output: the cells' blocks begin with it."""
        return F.relu(s)

    def preprocess(self, block: ReluFirst, s: Tensor) -> Tensor:
        """Apply the block to an input that is rectified already."""
        out: Tensor = block.last_bn(block.convolve(s))
        return out

    def source(self, x: Tensor) -> SharedSource:
        """Return a state that remembers what has been computed from it."""
        return EdgewiseSource(x, forgets=self.forgets, known=None if self._is_twice else self._known)

    def total(self, terms: Iterable[Term]) -> Tensor:
        """Return the sum."""
        return edgewise_total(terms)

    def leave(self, states: Sequence[Source], *, is_last: bool) -> Tensor:
        """Return the concatenated states, rectified unless they go to the classifier."""
        if is_last:
            return torch.cat([state.x for state in states], dim=1)
        shared = [state for state in states if isinstance(state, SharedSource)]
        assert len(shared) == len(states)
        return rectified_concat(shared)

    def forgetting_edges(self) -> Backend | None:
        """Return eager whose edges are computed again, one at a time: the peak is half of what it is with whole cells."""
        return Eager(forgets=True, is_twice=self._is_twice, known=self._known)

    def forgotten_cells(self) -> Backend:
        """Return itself."""
        return self

    def differentiable_twice(self) -> Backend:
        """Return the same with a function of autograd for each operation."""
        return Eager(forgets=self.forgets, is_twice=True, known=self._known)


class Native(Eager):
    """Eager, with whole cells in C++ kernels; for the CPU, where a compiler is found.

    What a cell keeps lies in ``workspace``, if one is given and free.
    """

    name: ClassVar[str] = "native"

    def __init__(self, *, workspace: Workspace | None = None, known: Candidates | None = None) -> None:
        super().__init__(known=known)
        self._workspace = workspace
        self._forgotten: Native | None = None

    def preprocess(self, block: ReluFirst, s: Tensor) -> Tensor:
        """Apply the block to an input that is rectified already."""
        found = self._known.find_usable(block, s, kind_of(s))
        return super().preprocess(block, s) if found is None or found.fit is None else fitted(found.fit, s, rectifies=False)

    def source(self, x: Any) -> Any:
        """Return a state that notes what its edges want of it."""
        return NativeSource(x, self._known, self._workspace)

    def total(self, terms: Iterable[Any]) -> Any:
        """Return the sum, noted."""
        return native_total(terms)

    def leave(self, states: Sequence[Any], *, is_last: bool) -> Tensor:
        """Return the concatenated states, rectified unless they go to the classifier; now they are computed."""
        if all(isinstance(state.state, Tensor) for state in states):
            joined = torch.cat([state.x for state in states], dim=1)
            return joined if is_last else F.relu(joined)
        return compute(states, rectifies=not is_last)

    def forgetting_edges(self) -> None:
        """Return None: whole cells are computed in one go."""

    def forgotten_cells(self) -> Backend:
        """Return native whose cells have one workspace: each forgets what lies there before the next comes."""
        if self._forgotten is None:
            self._forgotten = Native(workspace=Workspace(), known=self._known)
        return self._forgotten

    def differentiable_twice(self) -> Backend:
        """Return eager: the kernels' gradients cannot be differentiated."""
        return super().differentiable_twice()


class Compiled(Eager):
    """Eager, with an edge's convolutions by functions from ``torch.compile``, one a shape; ``compiles=False`` leaves them as they stand.

    So are batches of fewer than ``least_batch`` images: an epoch's last ones, which else would be compiled for where they come first, and
    in a resumed search they may not.
    """

    name: ClassVar[str] = "compiled"

    def __init__(self, *, compiles: bool = True, least_batch: int = 1, forgets: bool = False) -> None:
        super().__init__(forgets=forgets)
        self.compiles = compiles
        self.least_batch = least_batch

    def source(self, x: Any) -> Any:
        """Return a state that notes what its edges want of it."""
        return CompiledSource(x, compiles=self.compiles and x.shape[0] >= self.least_batch)

    def total(self, terms: Iterable[Any]) -> Any:
        """Return the sum, edge by edge."""
        return compiled_total(terms, forgets=self.forgets)

    def forgetting_edges(self) -> Backend:
        """Return the same with edges that are computed again."""
        return Compiled(compiles=self.compiles, least_batch=self.least_batch, forgets=True)

    def differentiable_twice(self) -> Backend:
        """Return eager: the functions' gradients cannot be differentiated."""
        return super().differentiable_twice()


BACKENDS: dict[str, type[Reference] | type[Eager]] = {"reference": Reference, "eager": Eager, "native": Native, "compiled": Compiled}


def _set_exact_backward(supernet: nn.Module, *, own: bool) -> None:
    for module in supernet.modules():
        if isinstance(module, DepthwiseConv2d):
            module.uses_own_backward = own
