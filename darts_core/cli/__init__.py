"""The ``darts`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from darts_core.cli import check, compare, genotype, listing, preset, ui
from darts_core.registry import suggest

COMMANDS = {
    "check": check.COMMAND,
    "preset": preset.COMMAND,
    "compare": compare.COMMAND,
    "genotype": genotype.COMMAND,
    "ui": ui.COMMAND,
    **listing.COMMANDS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 a fault in what it was given, 2 a wrong command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        near = suggest(arguments[0], COMMANDS)
        sys.stderr.write(f"darts: no command is called '{arguments[0]}'{near}. Known: {', '.join(COMMANDS)}.\n")
        return 2
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough; the interpreter must not flush into it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="darts", description="Look at, and change, what `dvc repro` runs.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.summary, description=f"{command.summary[0].upper()}{command.summary[1:]}.")
        command.declare(sub)
        sub.set_defaults(run=command.run)
    return parser
