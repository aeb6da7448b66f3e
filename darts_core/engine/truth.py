"""What an architecture is truly worth, where a benchmark has trained all of them: a CSV table of strings and accuracies."""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("arch", "val_accuracy", "test_accuracy")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Accuracies of a trained architecture in percent, and how many percent of the table's have a lower test accuracy."""

    valid_acc: float
    test_acc: float
    percentile: float


class BenchmarkTable:
    """Accuracies (valid, test) by architecture, in percent, as ``source`` has them."""

    def __init__(self, accuracies: Mapping[str, tuple[float, float]], *, source: str) -> None:
        self._accuracies = dict(accuracies)
        self._sorted = sorted(test for _, test in self._accuracies.values())
        self._source = source

    @classmethod
    def load(cls, path: str | Path, *, key: str = "evaluate.benchmark_table") -> BenchmarkTable:
        """Read a CSV file, which ``key`` of params.yaml names, with the columns arch, val_accuracy and test_accuracy; others are ignored.

        Raise ``ValueError`` where the file cannot be read, lacks a column or a row, holds something else than accuracies in percent, or
        contradicts itself.
        """
        where = f"{key}: {path}"
        accuracies: dict[str, tuple[float, float]] = {}
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
                    raise ValueError(f"{where}: the columns {', '.join(COLUMNS)} expected. Missing: {', '.join(missing)}.")
                if doubled := [column for column in COLUMNS if (rows.fieldnames or ()).count(column) > 1]:
                    raise ValueError(f"{where}: each column once expected. Got {', '.join(doubled)} more than once.")
                for row in rows:
                    architecture = _architecture(row, where, rows)
                    found = (_accuracy(row, "val_accuracy", where, rows), _accuracy(row, "test_accuracy", where, rows))
                    if accuracies.setdefault(architecture, found) != found:
                        raise ValueError(
                            f"{where}:{rows.line_num}: one row for each architecture expected. {architecture} is there a second time, with "
                            f"{found} in place of {accuracies[architecture]}. Keep one, or the mean."
                        )
        except OSError as error:
            raise ValueError(f"{where}: cannot be read ({error.strerror}). Expected a CSV file, or null.") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{where}: not a CSV file ({error}).") from None
        if not accuracies:
            raise ValueError(f"{where}: at least one architecture expected. Got none.")
        if (highest := max(map(max, accuracies.values()))) <= 1.0:
            raise ValueError(f"{where}: accuracies in percent expected. Got at most {highest:g}: these are shares. Multiply them by 100.")
        return cls(accuracies, source=where)

    def look_up(self, architecture: str) -> Truth:
        """Return what the table says of ``architecture``. Raise ``ValueError`` where it says nothing."""
        if architecture not in self._accuracies:
            raise ValueError(
                f"{self._source} has no architecture '{architecture}' among its {len(self._accuracies)}. "
                "Expected a table of this space, or null."
            )
        valid, test = self._accuracies[architecture]
        below = bisect_left(self._sorted, test)
        return Truth(valid_acc=valid, test_acc=test, percentile=100.0 * below / len(self._sorted))


def _architecture(row: Mapping[str, str | None], where: str, rows: csv.DictReader[str]) -> str:
    if None in row or None in row.values():
        expected = f"{len(rows.fieldnames or ())} cells expected, one for each column"
        raise ValueError(f"{where}:{rows.line_num}: {expected}. Got {'more' if None in row else 'fewer'}.")
    if not (architecture := (row["arch"] or "").strip()):
        raise ValueError(f"{where}:{rows.line_num}: arch must be an architecture. Got {row['arch']!r}.")
    return architecture


def _accuracy(row: Mapping[str, str | None], column: str, where: str, rows: csv.DictReader[str]) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 100.0:
        raise ValueError(f"{where}:{rows.line_num}: {column} must be an accuracy in percent. Got {row[column]!r}.")
    return value
