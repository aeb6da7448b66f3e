"""Where the stages put things, below the folder of ``dvc.yaml``: ``data`` is for stages to read, ``reports`` for people to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

NAMED_FILES = Path("data/named_files")
PREPARED = Path("data/prepared")
SEARCH = Path("data/search")
GENOTYPE = Path("data/genotype/genotype.json")
NETWORKS = Path("data/retrain")
REPORTS = {
    "prepare_data": Path("reports/prepare_data"),
    "search": Path("reports/search"),
    "derive_genotype": Path("reports/genotype"),
    "retrain": Path("reports/retrain"),
    "evaluate": Path("reports/evaluate"),
    "benchmark_hw": Path("reports/benchmark_hw"),
}
FIGURES = "figures"  # of evaluate: which there are differs between images and texts


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write ``values`` as indented JSON; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
