"""What the test set says: the numbers of every network side by side, and the searched one in detail, as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darts_core.metrics import ClassScores, ReliabilityBin

SEARCHED = "searched"
RANDOM_PREFIX = "random_"
PREDICTION_COLUMNS = ("index", "label", "prediction", "confidence")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One network on the N test images, in their order."""

    labels: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float64]  # probability (0 to 1) of the predicted class
    label_ranks: npt.NDArray[np.int64]  # classes that score higher than the label; 0 is a hit
    nll: npt.NDArray[np.float64]  # -ln(probability of the label), nats

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Which images are classified rightly."""
        return self.label_ranks == 0


@dataclass(frozen=True, kw_only=True)
class NetworkScores:
    """One row of the comparison. Rates in percent; ``nll`` in nats.

    ``low`` to ``high`` is the 95 % Wilson interval of ``top1``, ``bootstrap_low`` to ``bootstrap_high`` the one by resampling, which is too
    narrow near 100 %. ``minus_searched`` is this network's accuracy less that of the searched one, in percentage points, with its paired
    95 % bootstrap interval; ``mcnemar_p`` (0 to 1) is the exact p-value of that difference: below 0.05 the choice of test images does not
    explain it, whatever the interval says. These are None for the searched network itself. ``top5`` is None where there are five classes
    or fewer.
    """

    name: str
    top1: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    top5: float | None
    ece: float
    nll: float
    params_m: float
    macs_m: float
    minus_searched: float | None
    minus_searched_low: float | None
    minus_searched_high: float | None
    mcnemar_p: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of ``evaluate``. ``scores`` starts with the searched network, of which ``predictions`` and the tables speak.

    ``truth`` is what a benchmark's table says. ``vs_random`` is the relative improvement over the mean of the random architectures in
    percent; None without any, or where they never hit.
    """

    class_names: tuple[str, ...]
    scores: tuple[NetworkScores, ...]
    vs_random: float | None
    predictions: Predictions
    confusion: npt.NDArray[np.int64]  # row: true class, column: predicted class
    per_class: tuple[ClassScores, ...]
    reliability: tuple[ReliabilityBin, ...]
    truth: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the flat content of ``metrics.json``: ``test_*`` for the searched network, ``<network>_*`` for the others."""
        own = self.scores[0]
        values: dict[str, float | None] = {
            "test_acc": own.top1,
            "test_acc_low": own.low,
            "test_acc_high": own.high,
            "test_acc_bootstrap_low": own.bootstrap_low,
            "test_acc_bootstrap_high": own.bootstrap_high,
            "test_top5": own.top5,
            "test_ece": own.ece,
            "test_nll": own.nll,
            "vs_random": self.vs_random,
            "params_m": own.params_m,
            "macs_m": own.macs_m,
        }
        for other in self.scores[1:]:
            values |= {
                f"{other.name}_test_acc": other.top1,
                f"{other.name}_mcnemar_p": other.mcnemar_p,
                f"{other.name}_params_m": other.params_m,
                f"{other.name}_macs_m": other.macs_m,
            }
        return {**{key: value for key, value in values.items() if value is not None}, **self.truth}

    def save(self, folder: str | Path) -> None:
        """Write metrics.json, comparison.csv, per_class.csv, confusion.csv, reliability.csv and predictions.csv; make the folder.

        And for the bars of ``dvc plots`` scores/test_accuracy.csv: a name and a value, so that every kind of job has the same columns.
        A value that does not exist (the recall of a class without images) is an empty cell.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(self.metrics(), indent=2) + "\n", encoding="utf-8")
        names, p = self.class_names, self.predictions
        write_rows(folder / "comparison.csv", [f.name for f in fields(NetworkScores)], (_values(row) for row in self.scores))
        per_class = ([name, *_values(row)] for name, row in zip(names, self.per_class, strict=True))
        write_rows(folder / "per_class.csv", ["class", *(f.name for f in fields(ClassScores))], per_class)
        confusion = ([name, *row] for name, row in zip(names, self.confusion.tolist(), strict=True))
        write_rows(folder / "confusion.csv", ["true", *names], confusion)
        write_rows(folder / "reliability.csv", [f.name for f in fields(ReliabilityBin)], (_values(row) for row in self.reliability))
        predictions = (
            [index, names[label], names[prediction], 100.0 * confidence]
            for index, (label, prediction, confidence) in enumerate(
                zip(p.labels.tolist(), p.classes.tolist(), p.confidences.tolist(), strict=True)
            )
        )
        write_rows(folder / "predictions.csv", PREDICTION_COLUMNS, predictions)
        save_scores(folder, "test_accuracy", {row.name: row.top1 for row in self.scores})


def _values(row: NetworkScores | ClassScores | ReliabilityBin) -> list[object]:
    return [getattr(row, f.name) for f in fields(row)]


def searched_first(networks: Mapping[str, object]) -> list[str]:
    """Return the names, the searched network's first. Raise ``ValueError`` where there is none."""
    if SEARCHED not in networks:
        raise ValueError(f"evaluate: a network called '{SEARCHED}' is needed. Got {sorted(networks)}. Run the stage retrain first.")
    return [SEARCHED, *(name for name in networks if name != SEARCHED)]


def random_mean(scores: Mapping[str, float]) -> float | None:
    """Return the mean score of the random architectures, by network; None without any."""
    random = [score for name, score in scores.items() if name.startswith(RANDOM_PREFIX)]
    return sum(random) / len(random) if random else None


def save_scores(folder: Path, quantity: str, scores: Mapping[str, float]) -> None:
    """Write ``scores/<quantity>.csv``: a row for each network."""
    (folder / "scores").mkdir(exist_ok=True)
    write_rows(folder / "scores" / f"{quantity}.csv", ["name", "value"], scores.items())


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file; a value that does not exist is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
