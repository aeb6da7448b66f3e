"""Work in other processes: one pool, made at first use, that lives as long as this process."""

from __future__ import annotations

import functools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerKilledError(RuntimeError):
    """A process that decodes images is gone; the message says which key to lower."""


_making = threading.Lock()


def _pool(num_workers: int) -> ProcessPoolExecutor:
    with _making:
        return _new_pool(num_workers)


@functools.cache
def _new_pool(num_workers: int) -> ProcessPoolExecutor:
    # Not fork: a copy of a process whose threads (OpenMP, CUDA) hold locks can hang for ever.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["darts_core.data"])  # imported once, not once a process
    return ProcessPoolExecutor(num_workers, mp_context=context)


def start_workers(num_workers: int) -> None:
    """Have the processes start now, while this one is busy with something else."""
    if num_workers:
        # The first submit waits until the server of the processes has imported what they need.
        threading.Thread(target=lambda: [_pool(num_workers).submit(int) for _ in range(num_workers)], daemon=True).start()


def submit(num_workers: int, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Start ``function`` in one of ``num_workers`` processes; the call that is returned waits for its result.

    With 0 workers it runs here, in that call. Raise ``WorkerKilledError`` there if a process was killed.
    """
    if num_workers == 0:
        return functools.partial(function, *args, **kwargs)
    future = _pool(num_workers).submit(function, *args, **kwargs)

    def wait() -> T:
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerKilledError(
                "A process that decodes images was killed, perhaps for want of memory. Lower runtime.num_workers in params.yaml."
            ) from None

    return wait
