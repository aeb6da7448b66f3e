"""named_files: a hash of every file that ``params.yaml`` names, for DVC, which sees the key alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from darts_core.components import is_genotype_file, space_files
from darts_core.config import Config, TextConfig
from darts_core.pipeline.places import NAMED_FILES, write_json


def run(cfg: Config) -> None:
    """Write ``space.json``, ``genotype.json``, ``table.json``, ``ranks.json``, empty where nothing is named; later stages read them."""
    for name, files in named_files(cfg).items():
        write_json(NAMED_FILES / f"{name}.json", hashes(files))


def named_files(cfg: Config) -> dict[str, dict[str, Path]]:
    """Return the files by what they describe and by the key that names them."""
    genotype, ranks = cfg.derive.genotype, cfg.search.rank_truth
    table = None if isinstance(cfg, TextConfig) else cfg.evaluate.benchmark_table
    return {
        "space": {key: Path(path) for key, path in space_files(cfg).items()},
        "genotype": {"derive.genotype": Path(genotype)} if is_genotype_file(cfg) else {},
        "table": {} if table is None else {"evaluate.benchmark_table": Path(table)},
        "ranks": {"search.rank_truth": Path(ranks)} if isinstance(ranks, str) else {},
    }


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its key."""
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}
