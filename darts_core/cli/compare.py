"""``darts compare``: methods times seeds through DVC's queue, and one table of what came of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darts_core.cli.command import Command

if TYPE_CHECKING:
    from darts_core.pipeline.experiments import Experiment
    from darts_core.pipeline.queue import Queue


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``darts compare``."""
    parser.add_argument(
        "--methods", nargs="+", required=True, metavar="NAME", help="darts methods; with changes: gaea:search.arch_lr=0.1,edge_weights=true"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a value for all: search.epochs=5"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="experiments at the same time; default: 1")
    parser.add_argument("--out", type=Path, default=Path("reports/compare"), help="where the tables go; default: reports/compare")


def run(args: argparse.Namespace) -> int:
    """Queue what has not been run, let the queue work, print and write the table; 1 where an experiment failed."""
    from darts_core.config import yaml_lines
    from darts_core.pipeline.experiments import ExperimentError, plan
    from darts_core.pipeline.queue import Queue, command, require_committed
    from darts_core.report.methods import BASELINE

    folder = Path()
    if not (folder / "dvc.yaml").exists():
        raise ExperimentError("dvc.yaml is not here. Run this in the folder of the pipeline.")
    methods = [*args.methods, *([] if any(label.partition(":")[0] == BASELINE for label in args.methods) else [BASELINE])]
    params = yaml_lines.read((folder / "params.yaml").read_text(encoding="utf-8"), source="params.yaml").values
    planned = plan(params, methods, seeds=args.seeds, common=args.set, folder=folder)
    require_committed(command(folder))
    return compare(planned, Queue(command(folder)), jobs=args.jobs, out=args.out)


def compare(planned: Sequence[Experiment], queue: Queue, *, jobs: int, out: Path) -> int:
    """Run of ``planned`` what ``queue`` has no result of; write and print the table, and name what failed."""
    from darts_core.pipeline.queue import WAITING, outcome
    from darts_core.report.methods import METHODS_NOTE, by_method, methods_text, save_methods

    known = queue.shown()
    missing = [one for one in planned if outcome(one, known.get(one.name)) is None]
    _say(f"{len(planned)} experiments, {len(planned) - len(missing)} of them done.")
    for one in missing:
        state = known[one.name].state if one.name in known else None
        if state in (*WAITING, "success"):  # the second: it has run and has no accuracy, nor would it have one again
            continue
        if state is not None:
            queue.drop(one.name)
        queue.put(one)
    if missing:
        try:
            queue.work([one.name for one in missing], jobs=jobs, say=_say)
        except KeyboardInterrupt:
            _say("The experiments go on in the background, and the same command follows them again; dvc queue stop --kill ends them.")
            return 1
        known = queue.shown()
    found = {one.name: outcome(one, known.get(one.name)) for one in planned}
    order = {label: number for number, label in enumerate(dict.fromkeys(one.method for one in planned))}
    outcomes = sorted((one for one in found.values() if one is not None), key=lambda one: (order[one.method], one.seed))
    if outcomes:
        save_methods(outcomes, out)
        sys.stdout.write(f"\n{methods_text(by_method(outcomes))}{METHODS_NOTE}\nAlso in {out}: methods.csv, methods.md, runs.csv\n")
    failed = [one for one in planned if found[one.name] is None]
    for one in failed:
        sys.stderr.write(f"{one.method}, seed {one.seed}: failed, and is not in the table. See: dvc queue logs {one.name}\n")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


COMMAND = Command(summary="run methods with several seeds through DVC's queue, and compare them in one table", declare=declare, run=run)
