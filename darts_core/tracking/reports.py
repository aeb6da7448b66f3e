"""What a stage left on disk -> the names and numbers of the row. Live logging and back-fill end here, in the same names."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

# stage -> its folder of reports, and what else of it belongs to the row
REPORTS: Mapping[str, tuple[Path, tuple[Path, ...]]] = MappingProxyType(
    {
        "prepare_data": (Path("reports/prepare_data"), (Path("data/prepared/spec.json"),)),
        "search": (Path("reports/search"), ()),
        "derive_genotype": (Path("reports/genotype"), (Path("data/genotype/genotype.json"),)),
        "retrain": (Path("reports/retrain"), ()),
        "evaluate": (Path("reports/evaluate"), ()),
        "benchmark_hw": (Path("reports/benchmark_hw"), (Path("dvc.lock"),)),
    }
)
LAST_STAGE = "benchmark_hw"  # DVC skips any other stage, never this one
ACCURACY = re.compile(r"(^|_)(acc|top\d+|vs_random)(_|$)")
COST = re.compile(r"(^|_)(s|ms|m|mib|j|w|latency|throughput)(_|$)")
STEP_IMAGE = re.compile(r"(?P<key>.+)_epoch_(?P<step>\d+)")
MAX_DIGEST = 36  # characters in MLflow's table
Point = tuple[str, float, int]  # name, value, step


def metric_name(name: str, *, stage: str, network: str = "") -> str:
    """Return the row's name of a per-epoch metric: ``train_loss`` -> ``search/train_loss``; one with a ``/`` stays.

    ``network`` is the baseline that is being trained: ``retrain/resnet20/train_loss``.
    """
    if "/" not in name:
        name = "/".join(part for part in (stage, network, name) if part)
    return re.sub(r"[^\w\-. :/]", "_", name.replace("->", "-"))


def summary_name(key: str, *, stage: str) -> str:
    """Return the row's name of a key of metrics.json: ``test_acc`` -> ``accuracy/test``, ``params_m`` -> ``cost/params_m``."""
    if ACCURACY.search(key):
        return "accuracy/" + re.sub(r"_acc(?=_|$)", "", key)
    return f"cost/{key}" if stage == LAST_STAGE or COST.search(key) else f"result/{key}"


def summary(folder: Path, *, stage: str) -> dict[str, float]:
    """Return the numbers of metrics.json (by :func:`summary_name`) and of resources.json (``cost/<key>``) under their names."""
    named = {summary_name(key, stage=stage): value for key, value in _numbers(folder / "metrics.json").items()}
    return named | {f"cost/{key}": value for key, value in _numbers(folder / "resources.json").items()}


def curves(folder: Path, *, stage: str, all_edges: bool) -> Iterator[Point]:
    """Yield every value in the CSV files of ``folder`` whose first column is ``epoch``, or in its place the ``architecture``'s number.

    A table with both, such as rank_disorder.csv, is no curve.

    history.csv and epochs_resources.csv belong to the stage, alphas_<cell>.csv (a column an operation) to ``alpha_<cell>``,
    alphas.csv (epoch, cell, edge, op, weight) to each edge where ``all_edges``, any other file to the network of its name.
    """
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            columns = list(rows.fieldnames or [])
            if columns[:1] not in (["epoch"], ["architecture"]) or {"epoch", "architecture"} <= {*columns}:
                continue
            if "weight" not in columns:
                yield from _wide(rows, path.stem, stage, step_column=columns[0])
            elif all_edges:
                for row in rows:
                    name = metric_name(f"alpha_{row['cell']}/edge {row['edge']}/{row['op']}", stage=stage)
                    yield name, float(row["weight"]), int(row["epoch"])


def step_images(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """Yield ``(key, path, step)`` of the images called ``<key>_epoch_<step>.png``."""
    for path in sorted(folder.rglob("*.png")):
        if match := STEP_IMAGE.fullmatch(path.stem):
            yield match["key"], path, int(match["step"])


def dataset(path: Path = REPORTS["prepare_data"][1][0]) -> dict[str, str] | None:
    """Return name, digest (of the content) and folder of the prepared data, or nothing where there are none."""
    if not path.exists():
        return None
    spec = json.loads(path.read_text(encoding="utf-8"))
    return {"name": str(spec["name"]), "digest": str(spec["content_hash"])[:MAX_DIGEST], "source": str(path.parent)}


def _wide(rows: csv.DictReader[str], stem: str, stage: str, *, step_column: str) -> Iterator[Point]:
    cell = re.fullmatch(r"alphas_(.+)", stem)
    network = "" if stem in ("history", "epochs_resources") else stem
    for row in rows:
        step = int(float(row.pop(step_column)))
        for column, text in row.items():
            value = _number(text)
            if value is not None:
                name = f"alpha_{cell[1]}/{column}" if cell else column
                yield metric_name(name, stage=stage, network=network), value, step


def _numbers(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float) and key != "schema_version"}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
