"""``darts preset``: write a params.yaml from one of the presets, with changes, and without losing the old one."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path

from darts_core.cli.command import Command
from darts_core.cli.yaml_edit import EditError, assign, assignment, without
from darts_core.registry import suggest


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``darts preset``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the preset; without it, the list of them")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change a value: --set search.epochs=5 seed=1"
    )
    parser.add_argument("--output", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    parser.add_argument("--force", action="store_true", help="replace a file with changes of your own; it is kept as FILE.1, FILE.2, ...")


def presets() -> dict[str, str]:
    """Return the text of every preset by name."""
    folder = files("darts_core").joinpath("presets")
    paths = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {path.name.removesuffix(".yaml"): path.read_text(encoding="utf-8") for path in paths}


def run(args: argparse.Namespace) -> int:
    """List the presets, or write one."""
    known = presets()
    if args.name is None:
        if args.set:
            raise EditError("--set needs the preset that it changes: darts preset NAME --set key=value.")
        width = max(map(len, known))
        for name, text in known.items():
            sys.stdout.write(f"{name:<{width}}  {summary(text)}\n")
        return 0
    if args.name not in known:
        raise EditError(f"no preset is called '{args.name}'{suggest(args.name, known)}. Known: {', '.join(known)}.")
    text = edited(known[args.name], [assignment(item) for item in args.set])
    validate(text, source=args.output)
    backup = None
    if args.output.exists():
        backup = _make_room(args.output, text, ours=set(known.values()), force=args.force)
    _replace(args.output, text)
    sys.stdout.write(f"wrote {args.output}: {summary(text)}\n" + (f"the former one is now {backup}\n" if backup else ""))
    return 0


def summary(text: str) -> str:
    """Return the first line of a preset, which says what it is."""
    return text.partition("\n")[0].lstrip("# ")


def edited(text: str, changes: list[tuple[str, str]]) -> str:
    """Return a preset with ``changes`` made; where they choose another part, the former one's own options go, and that is said.

    Of another method's none stays, although it may be one that all have: it was meant for that method.
    """
    from darts_core.components import COMPONENTS
    from darts_core.config import yaml_lines

    former = yaml_lines.read(text, source="the preset").values["method"]["name"]
    for key, value in changes:
        text = assign(text, key, value)
    for section, registry in COMPONENTS.items():
        chosen = dict(changes).get(f"{section}.name")
        if chosen is not None and chosen in registry:
            mine = [key for key, _ in changes]
            text = _without_foreign_options(text, section, chosen, kept=mine, keeps_common=section != "method" or former == chosen)
    return text


def _without_foreign_options(text: str, section: str, chosen: str, *, kept: list[str], keeps_common: bool) -> str:
    from darts_core.components import COMPONENTS
    from darts_core.config import config_type, yaml_lines
    from darts_core.config.reading import own_keys

    document = yaml_lines.read(text, source="the preset")
    allowed = {*COMPONENTS[section].options(chosen), *own_keys(config_type(document.values), section)}
    entries = document.entries
    for key in [key for key in entries if key.startswith(f"{section}.") and key.count(".") == 1 and key not in kept]:
        if (name := key.partition(".")[2]) not in allowed or not (keeps_common or name == "name"):
            text = without(text, key)
            sys.stdout.write(f"left out {key}: {'meant for another method' if name in allowed else f'not an option of {chosen}'}\n")
    return text


def validate(text: str, *, source: Path) -> None:
    """Raise ``ConfigError`` with every fault of ``text``, as if it already stood in ``source``."""
    from darts_core.components import COMPONENTS, cross_check
    from darts_core.config import parse

    parse(text, components=COMPONENTS, cross_check=partial(cross_check, folder=source.parent), source=str(source))


def _make_room(path: Path, text: str, *, ours: set[str], force: bool) -> Path | None:
    """Keep the present file under the next free number, if it holds anything that cannot be had again."""
    present = path.read_bytes()
    if present in {known.encode() for known in ours} | {text.encode()}:
        return None
    if not force:
        raise EditError(f"{path} holds changes of your own. --force replaces it and keeps it as {_free(path)}; or choose another --output.")
    backup = _free(path)
    with backup.open("xb") as copy:
        copy.write(present)
        copy.flush()
        os.fsync(copy.fileno())
    return backup


def _free(path: Path) -> Path:
    number = 1
    while (backup := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return backup


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


COMMAND = Command(summary="write a params.yaml from a preset; without a name, list the presets", declare=declare, run=run)
