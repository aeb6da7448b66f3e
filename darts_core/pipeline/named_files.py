"""named_files: a hash of every file that ``params.yaml`` names, and what one's own data look like, for DVC, which sees the key alone."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

from darts_core.components import is_genotype_file, space_files
from darts_core.config import Config, TextConfig
from darts_core.data import DATASETS
from darts_core.data.listing import walk
from darts_core.pipeline.places import NAMED_FILES, write_json


def run(cfg: Config) -> None:
    """Write ``space.json``, ``genotype.json``, ``table.json``, ``ranks.json`` and ``data.json``, empty where nothing is named."""
    for name, files in named_files(cfg).items():
        write_json(NAMED_FILES / f"{name}.json", hashes(files))
    root = own_data(cfg)
    write_json(NAMED_FILES / "data.json", {} if root is None else {"data.root": outline(root)})


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


def own_data(cfg: Config) -> Path | None:
    """Return ``data.root`` where it is somebody's own, which has no default, and not the place of a download."""
    root = DATASETS.options(cfg.data.name).get("root")
    return Path(str(cfg.data.options["root"])) if root is not None and root.default is root.empty else None


def outline(root: Path) -> str:
    """Return the SHA-256 of names, sizes and times of change of a file, or of all files of a folder; contents would take too long.

    Where there is nothing it is that of no file; prepare_data says what is wrong.
    """
    files = [root]
    if not root.is_file():
        files = []
        with contextlib.suppress(ValueError):  # a folder that cannot be listed
            files.extend(folder / name for folder, names in walk(root) for name in names)
    digest = hashlib.sha256()
    for path in sorted(files):
        with contextlib.suppress(OSError):  # a link to nowhere, or removed meanwhile
            seen = path.stat()
            digest.update(
                f"{path.relative_to(root.parent).as_posix()}\0{seen.st_size}\0{seen.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
            )
    return digest.hexdigest()


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its key."""
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}
