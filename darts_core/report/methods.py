"""Methods times seeds as one table: what each found, how sure that is, and what it cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from darts_core.metrics import Interval
from darts_core.metrics.paired import mean_interval
from darts_core.report.table import markdown_table, text_table

BASELINE = "random_search"
METHODS_NOTE = (
    "Accuracies in percent, deviation over the seeds (n - 1). Less random search: mean of the differences seed by seed, with Student's "
    "95 % interval for pairs; in brackets how many of the runs have a partner, unless all do.\nSeconds are those of the search, selection "
    "included."
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one method found with one seed: accuracy in percent, seconds of the search, and, where a table knows it, the percentile."""

    method: str
    seed: int
    accuracy: float
    seconds: float
    percentile: float | None = None


@dataclass(frozen=True, kw_only=True)
class MethodScore:
    """A method over its seeds; ``less_random`` is the mean of its ``pairs`` of differences to random search, of seeds that both have."""

    method: str
    seeds: tuple[int, ...]
    accuracy: float
    deviation: float | None
    less_random: float | None
    pairs: int
    interval: Interval | None
    percentile: float | None
    seconds: float


def by_method(outcomes: Sequence[Outcome], *, baseline: str = BASELINE) -> list[MethodScore]:
    """Return a score for each method in the order of ``outcomes``; seeds that ``baseline`` lacks take no part in the difference.

    What stands behind a colon in the name of a method is its settings. Of several variants of ``baseline`` all others are held against the
    one without settings, else against the first.
    """
    methods = list(dict.fromkeys(one.method for one in outcomes))
    variants = [method for method in methods if _is(method, baseline)]
    chosen = baseline if baseline in variants else next(iter(variants), None)
    random = {one.seed: one.accuracy for one in outcomes if one.method == chosen}
    return [_score([one for one in outcomes if one.method == method], {} if method == chosen else random) for method in methods]


def _is(method: str, name: str) -> bool:
    return method.partition(":")[0] == name


def _score(own: Sequence[Outcome], random: dict[int, float]) -> MethodScore:
    accuracies = [one.accuracy for one in own]
    percentiles = [one.percentile for one in own if one.percentile is not None]
    differences = [one.accuracy - random[one.seed] for one in own if one.seed in random]
    return MethodScore(
        method=own[0].method,
        seeds=tuple(one.seed for one in own),
        accuracy=statistics.fmean(accuracies),
        deviation=statistics.stdev(accuracies) if len(own) > 1 else None,
        less_random=statistics.fmean(differences) if differences else None,
        pairs=len(differences),
        interval=mean_interval(differences),
        percentile=statistics.fmean(percentiles) if percentiles else None,
        seconds=statistics.fmean(one.seconds for one in own),
    )


def methods_text(scores: Sequence[MethodScore]) -> str:
    """Return the table as aligned lines."""
    return text_table(*_cells(scores))


def methods_markdown(scores: Sequence[MethodScore]) -> str:
    """Return the table as Markdown."""
    return markdown_table(*_cells(scores))


def save_methods(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write methods.csv (a row a method), methods.md and runs.csv (a row a run) to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = by_method(outcomes)
    rows = [
        {
            "method": one.method,
            "runs": len(one.seeds),
            "seeds": " ".join(map(str, one.seeds)),
            "accuracy": one.accuracy,
            "deviation": one.deviation,
            "less_random": one.less_random,
            "pairs": one.pairs,
            "low": None if one.interval is None else one.interval.low,
            "high": None if one.interval is None else one.interval.high,
            "percentile": one.percentile,
            "search_s": one.seconds,
        }
        for one in scores
    ]
    pd.DataFrame(rows).to_csv(folder / "methods.csv", index=False)
    pd.DataFrame([vars(one) for one in outcomes]).to_csv(folder / "runs.csv", index=False)
    (folder / "methods.md").write_text(f"{methods_markdown(scores)}\n{METHODS_NOTE}\n", encoding="utf-8")


def _cells(scores: Sequence[MethodScore]) -> tuple[list[str], list[list[str]]]:
    header = ["method", "runs", "accuracy", "deviation", "less random search", "95 %", "percentile", "seconds"]
    rows = [
        [
            one.method,
            str(len(one.seeds)),
            f"{one.accuracy:.2f}",
            _number(one.deviation, ".2f"),
            _number(one.less_random, "+.2f") + (f" ({one.pairs} of {len(one.seeds)})" if 0 < one.pairs < len(one.seeds) else ""),
            "-" if one.interval is None else f"{one.interval.low:+.2f} to {one.interval.high:+.2f}",
            _number(one.percentile, ".1f"),
            f"{one.seconds:.0f}",
        ]
        for one in scores
    ]
    kept = [k for k in range(len(header)) if k == 0 or any(row[k] != "-" for row in rows)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
