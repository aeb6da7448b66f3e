"""``darts check``: is params.yaml right, and what would it run?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from darts_core.cli.command import Command

if TYPE_CHECKING:
    from darts_core.config import Component, Config


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``darts check``."""
    parser.add_argument("file", nargs="?", default="params.yaml", metavar="FILE", help="default: params.yaml")


def run(args: argparse.Namespace) -> int:
    """Report every fault of the file with its line, or summarise what it says and warn of what has no effect."""
    from darts_core.components import load_params
    from darts_core.config import ConfigError, yaml_lines
    from darts_core.pipeline.idle import without_effect

    cfg = load_params(args.file)
    if faults := _missing_for_dvc(Path(args.file)):
        raise ConfigError("\n".join(faults))
    sys.stdout.write(f"{args.file}: ok\n{summary(cfg)}")
    document = yaml_lines.read(Path(args.file).read_text(encoding="utf-8-sig"), source=args.file)
    folder = Path(args.file).parent
    for line in (*_missing_data(cfg, folder), *without_effect(cfg, folder=folder)):
        sys.stdout.write(f"{args.file}:{document.line_of(line.partition(':')[0])}: warning: {line}\n")
    return 0


def _missing_data(cfg: Config, folder: Path) -> Iterator[str]:
    from darts_core.pipeline.named_files import own_data

    if (root := own_data(cfg)) is not None and not (folder / root).exists():
        yield f"data.root: {root} does not exist, so prepare_data would stop. Give your own data's place, relative to params.yaml."


def _missing_for_dvc(path: Path) -> list[str]:
    """Return a fault for every key that the dvc.yaml beside ``path`` names and ``path`` leaves out: DVC knows no defaults."""
    pipeline = path.with_name("dvc.yaml")
    if not pipeline.exists():
        return []
    from darts_core.config import yaml_lines

    stages = (yaml.safe_load(pipeline.read_text(encoding="utf-8")) or {}).get("stages", {}).values()
    named = {key for stage in stages for key in stage.get("params", ()) if isinstance(key, str)}
    document = yaml_lines.read(path.read_text(encoding="utf-8-sig"), source=str(path))
    absent = {key if key.partition(".")[0] in document.entries else key.partition(".")[0] for key in named if key not in document.entries}
    return [
        f"{path}:{document.line_of(key)}: {key}: missing. It has a default, but dvc.yaml names it, and DVC stops without it: write it out."
        for key in sorted(absent, key=lambda key: (document.line_of(key), key))
    ]


def _share(fraction: float) -> str:
    return f"{100 * fraction:g} %" if fraction else "none"


def summary(cfg: Config) -> str:
    """Return what a run of ``cfg`` does, a line for each stage."""
    from darts_core.components import is_genotype_file
    from darts_core.config import TextConfig

    search, retrain, bench = cfg.search, cfg.retrain, cfg.benchmark_hw
    if cfg.derive.genotype == "search":
        searched = f"{_named(cfg.method)} in {_named(cfg.space)}; {_budget(cfg)}, batches of {search.batch_size}"
        derived = f"by the rule {cfg.derive.rule}" if cfg.derive.rule else "by the method's own rule"
    else:
        is_string = cfg.derive.genotype.startswith("|")
        source = "as in that file" if is_genotype_file(cfg) else "as given" if is_string else "as published"
        searched, derived = "no search", f"{cfg.derive.genotype}, {source}"
    threads = bench.num_threads or cfg.runtime.num_threads or "all cores"
    beside = [*retrain.baselines, *([f"{retrain.random_genotypes} random"] if retrain.random_genotypes else [])]
    is_text = isinstance(cfg, TextConfig)
    sizes = f"{cfg.retrain.hidden} units" if isinstance(cfg, TextConfig) else f"{retrain.init_channels} channels, {retrain.layers} cells"
    kind = "text" if is_text else "images"
    own = ", unless a validation part comes with it" if is_text and cfg.data.name != "python_docs" else ""
    lines = {
        "prepare_data": f"{_named(cfg.data)}; {_share(cfg.data.valid_fraction)} of the training {kind} kept for validation{own}",
        "search": searched,
        "derive_genotype": derived,
        "retrain": f"{retrain.epochs} epochs, batches of {retrain.batch_size}, {sizes}"
        + (f"; the same for {', '.join(beside)}" if beside else ""),
        "evaluate": f"the {cfg.evaluate.weights} epoch on the test {kind}",
        "benchmark_hw": f"{bench.protocol} protocol, batches of {', '.join(map(str, bench.batch_sizes))}; threads: {threads}",
        "runtime": f"seed {cfg.seed}, device {cfg.runtime.device}",
        "tracking": f"MLflow experiment '{cfg.tracking.experiment}'" if cfg.tracking.enabled else "off",
    }
    return "".join(f"  {name:<16} {text}\n" for name, text in lines.items())


def _budget(cfg: Config) -> str:
    """Return what a search trains: a supernet, or architectures one by one, for how many epochs."""
    from darts_core.components import build_method
    from darts_core.search.select import TrainedAlone

    select = build_method(cfg).select
    if isinstance(select, TrainedAlone):
        rounds = [f"{count} architectures one by one, {epochs} epochs each" for count, epochs in select.rounds(cfg.search)]
        return "; then the best ".join(rounds)
    return f"{cfg.search.epochs} epochs"


def _named(component: Component) -> str:
    options = ", ".join(f"{key} {value}" for key, value in component.options.items() if value is not None)
    return f"{component.name} ({options})" if options else component.name


COMMAND = Command(summary="check params.yaml: every fault with its line, or what would run", declare=declare, run=run)
