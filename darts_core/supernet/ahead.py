"""The functions of a search, compiled before its first step, on as many cores as there are.

A function takes one to eight seconds, half of them the C++ compiler's, and a supernet needs some thirty. So other processes compile some of
them, into the cache that torch keeps on disk, and this one finds them there. Each is told what to compile by lines of JSON:
``python -m darts_core.supernet.ahead``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from darts_core.ops.edge import EdgePlan, Step, all_tap_grads, edge_backward, edge_forward
from darts_core.ops.pooled import max_backward, max_forward, mean_backward, mean_forward
from darts_core.runtime import per_shape
from darts_core.runtime.compiler import BuildError
from darts_core.runtime.per_shape import Wanted
from darts_core.runtime.session import available_cores

LOG = logging.getLogger(__name__)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (edge_forward, edge_backward, all_tap_grads, max_forward, max_backward, mean_forward, mean_backward)
}
_MOST_OTHERS = 3
_PATIENCE = 120
"""Seconds that another process may take for one function beyond what this one does itself meanwhile."""


class Others:
    """Processes that compile beside this one, on the CPU, as long as the context lasts; without any, all is compiled here.

    There are ``processes``, this one included; default: one a core, at most four. They get ready while this one does other things.
    """

    def __init__(self, device: torch.device, *, processes: int | None = None) -> None:
        cores = min(available_cores(), 1 + _MOST_OTHERS) if processes is None else processes
        self._others: list[_Other] = []
        if device.type == "cpu" and _has_cache():
            with suppress(OSError):  # no more processes to be had
                self._others.extend(_Other() for _ in range(cores - 1))

    def __enter__(self) -> Others:
        return self

    def __exit__(self, *error: object) -> None:
        for other in self._others:
            other.stop()

    def compile(self, wanted: Iterable[Wanted]) -> None:
        """Compile all that is ``wanted`` and not there yet. Raises BuildError.

        What another process fails at is compiled here.
        """
        wanted = [each for each in wanted if not per_shape.is_ready(*each)]
        if not wanted:
            return
        LOG.info("compiled: making %d functions, a minute or two unless torch has them in its cache.", len(wanted))
        started = time.perf_counter()
        queue = deque(sorted(wanted, key=lambda each: -sum(len(_row(x)) for x in each.arguments)))  # slow ones first
        for other in self._others:
            other.take(queue)
        while queue:
            try:
                per_shape.prepare(*queue.popleft())
            except IndexError:  # another has taken the last
                break
        for other in self._others:
            other.finish()
        for each in wanted:
            if not per_shape.is_ready(*each):
                per_shape.prepare(*each)
        LOG.info("compiled: made in %.0f s, by %d processes.", time.perf_counter() - started, 1 + len(self._others))


def _has_cache() -> bool:
    """Whether what another process compiles can be found here: torch's cache of graphs is on."""
    try:
        from torch._inductor import config  # takes a second to import
    except ImportError:  # nothing can be compiled, as will be said where it is wanted
        return False
    off = any(getattr(each, "force_disable_caches", False) for each in (config, getattr(torch.compiler, "config", None)))
    return getattr(config, "fx_graph_cache", False) and not off and bool(sys.executable)


class _Other:
    """A process that compiles, and the thread that tells it what."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
            start_new_session=True,  # an interrupt from the keyboard is this process's to answer
        )
        self._thread: Thread | None = None
        self._send({"threads": torch.get_num_threads(), "fp32_precision": getattr(torch.backends.cuda.matmul, "fp32_precision", None)})

    def take(self, queue: deque[Wanted]) -> None:
        """Compile what is at the far end of ``queue``, one after the other, until it is empty."""
        self._thread = Thread(target=self._feed, args=(queue,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for what it has begun, seconds; end it if these become minutes."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                LOG.info("compiled: another process took more than %g s for a function, and is ended.", _PATIENCE)
                self._kill()
                self._thread.join()

    def stop(self) -> None:
        """End it at once, and the compiler that it may have started."""
        self._kill()
        self.finish()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent cannot be
                assert pipe is not None
                pipe.close()

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _feed(self, queue: deque[Wanted]) -> None:
        assert self._process.stdout is not None
        while self._process.stdout.readline() and queue:  # it is ready for the next, or has ended
            try:
                self._send(to_json(queue.pop()))
            except IndexError:  # another has taken the last
                return

    def _send(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()


def to_json(wanted: Wanted) -> dict[str, Any]:
    """Return what :func:`of_json` takes."""
    return {
        "function": wanted.function.__name__,
        "static": _static_to_json(wanted.static),
        "arguments": [_like(each) if isinstance(each, Tensor) else [_like(x) for x in each] for each in wanted.arguments],
    }


def of_json(text: dict[str, Any]) -> Wanted:
    """Return what :func:`to_json` was given, with arguments on the CPU."""
    arguments = [_empty(each) if isinstance(each, dict) else [_empty(x) for x in each] for each in text["arguments"]]
    return Wanted(FUNCTIONS[text["function"]], _static_of_json(text["static"]), arguments)


def _static_to_json(static: Hashable) -> Any:
    if isinstance(static, EdgePlan):
        return {"chains": [[astuple(step) for step in chain] for chain in static.chains], "maps": static.maps}
    return [astuple(step) for step in static] if isinstance(static, tuple) else static


def _static_of_json(text: Any) -> Hashable:
    if isinstance(text, dict):
        return EdgePlan(tuple(tuple(Step(*step) for step in chain) for chain in text["chains"]), text["maps"])
    static: Hashable = tuple(Step(*step) for step in text) if isinstance(text, list) else text
    return static


def _like(x: Tensor) -> dict[str, Any]:
    return {"shape": list(x.shape), "stride": list(x.stride()), "dtype": str(x.dtype).removeprefix("torch.")}


def _empty(like: dict[str, Any]) -> Tensor:
    return torch.empty_strided(like["shape"], like["stride"], dtype=getattr(torch, like["dtype"]))


def _row(argument: per_shape.Arguments) -> Sequence[Tensor]:
    return [argument] if isinstance(argument, Tensor) else argument


def main() -> None:
    """Compile what each line of the standard input names; a line of the standard output says that the next may come."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever compilers print is no answer
    settings = json.loads(sys.stdin.readline())  # they become part of the code or of its key
    torch.set_num_threads(settings["threads"])
    if settings["fp32_precision"] is not None:  # of torch 2.9 and later
        torch.backends.cuda.matmul.fp32_precision = settings["fp32_precision"]
    _prepare(Wanted(mean_forward, 1e-5, [torch.ones(1, 1, 2, 2)]))  # the first takes ten seconds more
    answers.write("\n")
    answers.flush()
    for line in sys.stdin:
        _prepare(of_json(json.loads(line)))
        answers.write("\n")
        answers.flush()


def _prepare(wanted: Wanted) -> None:
    with suppress(BuildError):  # the process that asked will see for itself
        per_shape.prepare(*wanted)


if __name__ == "__main__":
    main()
