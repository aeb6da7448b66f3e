"""Progress: bars with the time left on a terminal, one line an epoch in a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")


_BAR_COLUMNS = 60  # for the title, the bar itself, and the times


def fitting(metrics: Mapping[str, float], columns: int) -> str:
    """Return as many of ``metrics`` as ``columns`` characters hold, at least one, accuracies first: what is cut off says nothing."""
    shown = ""
    for name in sorted(metrics, key=lambda name: not name.endswith("_acc")):
        longer = f"{shown}, {name}={metrics[name]:.4g}".removeprefix(", ")
        if shown and len(longer) > columns:
            break
        shown = longer
    return shown


class Progress:
    """Reports a loop of ``total`` epochs (or another ``unit``) called ``title``; ``mode`` is runtime.progress (auto, bar, lines, off).

    ``sizes`` are the epochs that each takes, where they differ: a bar and the time left count these.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        mode: str = "auto",
        done: int = 0,
        unit: str = "epoch",
        sizes: Sequence[int] | None = None,
        out: TextIO | None = None,
    ) -> None:
        self.title = title
        self.total = total
        self.done = self._first = done
        self._unit = unit
        self._sizes = [1] * total if sizes is None else list(sizes)
        self._out = out or sys.stderr
        self._bar = mode == "bar" or (mode == "auto" and self._out.isatty())
        self._lines = mode == "lines" or (mode == "auto" and not self._bar)
        self._started = time.monotonic()
        self._epochs: tqdm[Any] | None = None
        if self._bar:
            self._epochs = tqdm(
                total=sum(self._sizes),
                initial=sum(self._sizes[:done]),
                desc=title,
                unit=unit if sizes is None else "epoch",
                file=self._out,
                dynamic_ncols=True,
                position=0,
                leave=True,
            )

    def batches(self, batches: Iterable[T], *, total: int | None = None) -> Iterator[T]:
        """Yield ``batches``, with a bar of their own on a terminal."""
        if not self._bar:
            yield from batches
            return
        yield from tqdm(
            batches, total=total, desc=f"  epoch {self.done + 1}", unit="step", file=self._out, dynamic_ncols=True, position=1, leave=False
        )

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Count one epoch and show ``metrics``."""
        self.done += 1
        if self._epochs is not None:
            self._epochs.set_postfix_str(fitting(metrics, shutil.get_terminal_size().columns - _BAR_COLUMNS), refresh=False)
            self._epochs.update(self._sizes[self.done - 1])
        elif self._lines:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            self._write(f"{self.title}  {self.done}/{self.total}  {shown}  {self._time_left()}")

    def close(self) -> None:
        """End the bar."""
        if self._epochs is not None:
            self._epochs.close()

    def _time_left(self) -> str:
        spent = time.monotonic() - self._started
        per_unit = spent / max(1, self.done - self._first)
        left = spent / max(1, sum(self._sizes[self._first : self.done])) * sum(self._sizes[self.done :])
        return (
            f"{per_unit:.1f} s/{self._unit}  {duration(left)} left"
            if self.done < self.total
            else f"{per_unit:.1f} s/{self._unit}  done in {duration(spent)}"
        )

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


def duration(seconds: float) -> str:
    """Return seconds as people read them: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
