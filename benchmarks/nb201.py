"""What a search is worth on NAS-Bench-201: the true accuracy of what each method finds, for several seeds.

python -m benchmarks.nb201 --methods gdas,darts --seeds 0,1,2 --data cifar10-jpeg --table nasbench201_cifar10_12epochs.csv --epochs 10

``--data`` is a folder or archive of CIFAR-10 as images, ``train/<class>/`` and ``test/<class>/``; no test image is used. ``--table`` has
the accuracies of all 15,625 architectures after 12 epochs. Images are prepared once, below ``--cache``. A method may have options:
``darts:arch_gradient=unrolled``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from darts_core import data
from darts_core.components import COMPONENTS, build_method, build_space, cross_check
from darts_core.config import Config, from_mapping
from darts_core.engine.search import SearchData, SearchResult, search
from darts_core.engine.truth import BenchmarkTable
from darts_core.runtime.allocator import keep_freed_memory
from darts_core.runtime.device import resolve
from darts_core.runtime.seed import seeded, stream


def configuration(method: str, seed: int, args: argparse.Namespace) -> Config:
    """Return the parameters of one search; ``method`` is a name, or ``name:option=value``, with commas as semicolons."""
    name, _, options = method.partition(":")
    chosen = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in options.split(";") if each)}
    searched = {"epochs": args.epochs, "batch_size": args.batch_size, "lr": args.lr, "lr_min": args.lr_min, "arch_lr": args.arch_lr}
    sections = {
        "seed": seed,
        "data": {"name": "image_folder", "root": str(args.data.resolve()), "valid_fraction": 0.0},
        "space": {"name": "nasbench201", "init_channels": args.channels, "layers": args.layers},
        "method": {"name": name, **chosen},
        "search": {**searched, "data_fraction": args.fraction, "backend": args.backend},
    }

    def check(cfg: Config) -> list[str]:
        return cross_check(cfg, only_search=True)

    return from_mapping(sections, components=COMPONENTS, cross_check=check)


def prepared(cfg: Config, cache: Path) -> data.Prepared:
    """Return the images, which are prepared where ``cache`` does not hold them yet."""
    if not (cache / "spec.json").exists():
        data.prepare(cfg.data, cache, num_workers=2)
    return data.open_prepared(cache)


def run(cfg: Config, images: data.Prepared, device: torch.device) -> SearchResult:
    """Search once, with streams of the seed."""
    space, method, spec = build_space(cfg), build_method(cfg), images.spec
    with seeded(cfg.seed, "search weights"):
        generator = stream(cfg.seed, "search alphas")
        supernet = method.supernet(space, in_channels=spec.channels, num_classes=spec.num_classes, generator=generator)
    ours, theirs = images.search_splits(cfg.search.train_portion, seed=cfg.seed, fraction=cfg.search.data_fraction)
    size, policy = cfg.search.batch_size, data.resolve_policy(spec, cfg.augment, cutout=False)
    train, valid = (
        data.Batches(part, size, shuffle=True, policy=policy, generator=stream(cfg.seed, f"search {name} batches"), device=device)
        for name, part in (("weight", ours), ("alpha", theirs))
    )
    batches = SearchData(
        batch_shape=(size, spec.channels, spec.height, spec.width),
        train=train,
        valid=data.Cycle(valid),
        held_out=data.Batches(theirs, size, shuffle=False, device=device),
    )
    return search(supernet, method, space=space, data=batches, cfg=cfg.search, device=device, progress="lines")


def measured(method: str, seed: int, args: argparse.Namespace, table: BenchmarkTable) -> dict[str, Any]:
    """Return one row: what was found, what it is worth, and the seconds it took, preparation left out."""
    cfg = configuration(method, seed, args)
    images = prepared(cfg, args.cache)
    start = time.perf_counter()
    result = run(cfg, images, resolve(args.device))
    seconds = time.perf_counter() - start
    spell = build_space(cfg).spell
    assert spell is not None
    architecture = spell(result.genotype)
    truth = table.look_up(architecture)
    return {
        "method": method,
        "seed": seed,
        "architecture": architecture,
        "test_acc": truth.test_acc,
        "percentile": truth.percentile,
        "supernet_valid_acc": result.valid_acc,
        "seconds": seconds,
        **result.computed,
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """Return a line a method: mean and deviation of the true test accuracy, mean percentile and seconds."""
    lines = [f"{'method':<28}{'runs':>5}{'test acc. %':>13}{'deviation':>11}{'percentile':>12}{'seconds':>9}"]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        accuracies = [row["test_acc"] for row in mine]
        deviation = statistics.stdev(accuracies) if len(mine) > 1 else float("nan")
        percentile, seconds = (statistics.mean(row[key] for row in mine) for key in ("percentile", "seconds"))
        lines.append(f"{method:<28}{len(mine):>5}{statistics.mean(accuracies):>13.2f}{deviation:>11.2f}{percentile:>12.1f}{seconds:>9.0f}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Search with every method and seed, and print what it was worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="darts", help="names, by commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".cache/nb201"), help="where the prepared images are kept")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.025)
    parser.add_argument("--lr-min", type=float, default=0.001)
    parser.add_argument("--arch-lr", type=float, default=3e-4)
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the training images that is used")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=15, help="cells, in three stages")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the rows and the settings as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    table = BenchmarkTable.load(args.table)
    rows = []
    for method in args.methods.split(","):
        for seed in map(int, args.seeds.split(",")):
            rows.append(measured(method, seed, args, table))
            sys.stderr.write(f"{json.dumps(rows[-1])}\n")
    settings = {key: str(value) for key, value in vars(args).items()}
    sys.stdout.write(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n" if args.json else f"{summary(rows)}{settings}\n")


if __name__ == "__main__":
    main()
