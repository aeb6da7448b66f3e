"""Work in several processes at once, each with threads of its own: on a CPU two small networks side by side beat two threads on one.

A worker ends with the process that started it, so that a stage that was killed leaves no writer behind.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from darts_core.engine.loop import TrainingError

Log = Callable[[str, Mapping[str, float], int], None]
_POLL_S = 0.2
_outlet: list[Any] = []  # the queue to the process that started this one


def run_apart(work: Callable[[Any, str], None], argument: Any, names: Sequence[str], *, processes: int, log: Log) -> None:
    """Call ``work(argument, name)`` for every name, ``processes`` at a time; hand on what the workers :func:`report`.

    ``work`` is a function of a module, ``argument`` anything that can be sent to another process. The first error, of a worker or of
    ``log``, ends the rest at once and is raised; a worker that was killed raises ``TrainingError``.
    """
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()  # a message is through when put returns, so none is missing when its worker is done
    is_over = context.RawValue("b", False)  # without a lock, which a killed worker could take with it
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(messages, is_over, os.getpid())) as pool:
        try:
            _follow([pool.submit(work, argument, name) for name in names], messages, log)
        except BrokenProcessPool:
            raise TrainingError(
                "A training process was killed, perhaps because memory ran out. Lower runtime.processes or retrain.batch_size and run "
                "the command again: finished epochs are kept."
            ) from None
        except BaseException:
            is_over.value = True
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def report(name: str, metrics: Mapping[str, float], epoch: int) -> None:
    """Send the metrics of an epoch to the process that called :func:`run_apart`."""
    _outlet[0].put((name, dict(metrics), epoch))


def _follow(futures: Sequence[Future[None]], messages: Any, log: Log) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL_S)
        _drain(messages, log)
        for future in done:
            future.result()
    _drain(messages, log)


def _drain(messages: Any, log: Log) -> None:
    while not messages.empty():
        log(*messages.get())


def _start(messages: Any, is_over: Any, parent: int) -> None:
    _outlet[:] = [messages]

    def end_with_parent() -> None:
        while os.getppid() == parent and not is_over.value:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True, name="end-with-parent").start()
