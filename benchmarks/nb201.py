"""What a search is worth on NAS-Bench-201: the true accuracy of what each method finds, for several seeds.

python -m benchmarks.nb201 --data cifar10-jpeg.tar.xz --table nasbench201_cifar10_12epochs.csv --seeds 0 1 2

``--data`` is a folder or archive of CIFAR-10 as images, ``train/<class>/`` and ``test/<class>/``; no test image is used. ``--table`` has
the accuracies of all 15,625 architectures after 12 epochs; a search never sees it. The settings stand in nb201.yaml, those of
a search that collapses in nb201_collapse.yaml (``--settings``). Each run leaves a file in ``--out`` and is not repeated while its settings
are the same; the table there has all runs that are asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from darts_core import data
from darts_core.components import COMPONENTS, build_space, cross_check
from darts_core.config import Config, from_mapping
from darts_core.engine.truth import BenchmarkTable
from darts_core.hardware.facts import describe
from darts_core.pipeline.named_files import outline
from darts_core.pipeline.places import write_json
from darts_core.pipeline.search import search_cell
from darts_core.report.methods import METHODS_NOTE, Outcome, by_method, methods_text, save_methods
from darts_core.report.search import draw_search, save_tables
from darts_core.runtime.session import start

SETTINGS = Path(__file__).with_suffix(".yaml")
DECISIVE = {"seed", "space", "method", "search", "data", "augment"}
"""The sections of params.yaml that a run's outcome hangs on."""


def configuration(settings: dict[str, Any], label: str, seed: int, args: argparse.Namespace) -> Config:
    """Return the parameters of one search: the settings of all, those of ``label`` over them, and what the command line sets."""
    if label not in settings["methods"]:
        raise ValueError(f"--methods: '{label}' is not in {args.settings}. Known: {', '.join(settings['methods'])}.")
    sections = {name: dict(section) for name, section in settings.items() if name != "methods"}
    sections["method"] = {"name": label}
    for name, section in settings["methods"][label].items():
        sections[name] = {**sections.get(name, {}), **section}
    for item in args.set:
        key, equals, value = item.partition("=")
        section, dot, name = key.partition(".")
        if not equals or not dot:
            raise ValueError(f"--set: SECTION.KEY=VALUE expected, such as search.epochs=5. Got {item}.")
        sections.setdefault(section, {})[name] = yaml.safe_load(value)
    sections["data"]["root"] = str(args.data.resolve())
    return from_mapping({"seed": seed, **sections}, components=COMPONENTS, cross_check=partial(cross_check, only_search=True))


def prepared(cfg: Config, cache: Path) -> data.Prepared:
    """Return the images, which are prepared where ``cache`` does not hold them yet, or they have changed since."""
    root = cfg.data.options.get("root")  # digits has none
    told = {**cfg.data.model_dump(mode="json"), "root": root and outline(Path(str(root)))}
    folder = cache / hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    if not (folder / "spec.json").exists():
        data.prepare(cfg.data, folder, num_workers=2)
    return data.open_prepared(folder)


def measured(cfg: Config, images: data.Prepared, table: BenchmarkTable, folder: Path) -> dict[str, Any]:
    """Search once and return what was found, what it is worth, and the seconds that it took, preparation left out."""
    session = start(cfg.runtime, seed=cfg.seed)
    begun, worked = time.perf_counter(), time.process_time()
    result = search_cell(cfg, images, session)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - worked
    spell = build_space(cfg).spell
    assert spell is not None
    architecture = spell(result.genotype)
    truth = table.look_up(architecture)
    folder.mkdir(parents=True, exist_ok=True)
    save_tables(result.history, result.alphas, result.costs, folder, ranks=result.ranks)
    draw_search(result.history, result.alphas, folder, ranks=result.ranks, chosen=result.chosen)
    return {
        "architecture": architecture,
        "test_acc": truth.test_acc,
        "percentile": truth.percentile,
        "supernet_valid_acc": result.valid_acc,
        "collapsed": result.history[result.chosen].get("collapsed", 0),  # architectures that are trained alone do not collapse
        "stopped": result.stopped,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "device": describe(session.device),
        **result.computed,
    }


def outcome(label: str, seed: int, settings: dict[str, Any], args: argparse.Namespace, table: BenchmarkTable) -> Outcome:
    """Return the outcome of a run: of the file in which an equal one, on the same images, left it, or of a search now."""
    cfg = configuration(settings, label, seed, args)
    images = prepared(cfg, args.cache)
    path = args.out / f"{label}_{seed}.json"
    chosen = cfg.model_dump(mode="json", include=DECISIVE, exclude_defaults=True)
    chosen["data"]["root"] = ""
    told = {"settings": chosen, "images": images.spec.content_hash}
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if any(found.get(key) != value for key, value in told.items()):
        found = {**told, **measured(cfg, images, table, args.out / f"{label}_{seed}")}
        write_json(path, found)
    found |= {"test_acc": (truth := table.look_up(found["architecture"])).test_acc, "percentile": truth.percentile}  # by this table
    sys.stderr.write(f"{label}, seed {seed}: {found['test_acc']:.2f} % {found['architecture']} in {found['seconds']:.0f} s\n")
    return Outcome(method=label, seed=seed, accuracy=found["test_acc"], seconds=found["seconds"], percentile=found["percentile"])


def main() -> None:
    """Search with every method and seed, and print what it was worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="of those in the settings; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="default: nb201.yaml beside this file")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a setting of all: search.epochs=5"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/nb201"), help="where runs and tables go")
    parser.add_argument("--cache", type=Path, default=Path(".cache/nb201"), help="where the prepared images are kept")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for option, values in (("--seeds", args.seeds), ("--methods", args.methods or ())):
        if len({*values}) < len(values):
            parser.error(f"{option}: each once expected, for a run counted twice narrows the interval. Got {', '.join(map(str, values))}.")
    settings = yaml.safe_load(args.settings.read_text(encoding="utf-8"))
    table = BenchmarkTable.load(args.table, key="--table")
    wanted = args.methods or list(settings["methods"])
    for label in wanted:
        configuration(settings, label, args.seeds[0], args)  # before the first search: a fault in the last one's settings
    outcomes = [outcome(label, seed, settings, args, table) for seed in args.seeds for label in wanted]
    outcomes.sort(key=lambda one: wanted.index(one.method))
    save_methods(outcomes, args.out)
    sys.stdout.write(f"{methods_text(by_method(outcomes))}{METHODS_NOTE}\n")


if __name__ == "__main__":
    main()
