"""Memory that one large tensor after another uses again.

An allocator puts small blocks into the hole that a large one leaves, and then the next large one needs another place. Given back to the
system instead, each of its pages would be filled with zeros anew.
"""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor


class Workspace:
    """A block of the CPU's memory, lent to one tensor at a time. It grows to the largest tensor, and goes back with the last that holds it.

    Safe in threads; a copy has a block of its own, and so has a process after a fork.
    """

    def __init__(self) -> None:
        self._block: mmap.mmap | None = None
        self._lent: weakref.ref[memoryview] | None = None
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Workspace:
        return Workspace()

    def new_empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Return ``like.new_empty(shape)``, in the block unless a tensor that lies there is alive, or ``like`` is not on the CPU.

        A tensor is alive as long as anything holds it, a view of it, or a graph that saved it. Raises MemoryError where
        none is left.
        """
        nbytes = math.prod(shape) * like.element_size()
        if like.device.type != "cpu" or nbytes == 0:
            return like.new_empty(shape)
        with self._lock:
            if self._lent is not None and self._lent() is not None:
                return like.new_empty(shape)
            if self._block is None or len(self._block) < nbytes:
                self._block = None  # before the larger one comes
                self._block = _block(nbytes)
            lent = memoryview(self._block)
            self._lent = weakref.ref(lent)
            # The tensor's storage holds `lent`, and nothing else does.
            return torch.frombuffer(lent, dtype=like.dtype, count=math.prod(shape)).view(*shape)


def _block(nbytes: int) -> mmap.mmap:
    # By default processes after a fork would share it.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    try:
        return mmap.mmap(-1, nbytes, **private)
    except OSError as error:
        raise MemoryError(f"No {nbytes} bytes for what a cell keeps ({error.strerror})") from None
