"""``darts methods``, ``spaces``, ``ops``, ``baselines``, ``datasets`` and ``genotypes``: what there is, a line each."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from darts_core.cli.command import Command
from darts_core.registry import Registry


def written(value: object) -> str:
    """Return ``value`` as one writes it in params.yaml."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(written, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def options(registry: Registry[Any], name: str) -> list[str]:
    """Return a line for each option of an entry: name, default and type."""
    types = registry.types(name)
    lines = []
    for parameter in registry.options(name).values():
        kind = _spelled(types.get(parameter.name, Any))
        if parameter.default is parameter.empty:
            lines.append(f"{parameter.name}  ({kind}; no default)")
        else:
            lines.append(f"{parameter.name} = {written(parameter.default)}  ({kind})")
    return lines


def _spelled(kind: Any) -> str:
    """Return a type in the words of params.yaml: a Literal's choices, ``null`` for None, a list for a tuple, an arrow for a mapping."""
    if get_origin(kind) is Literal:
        return " | ".join(map(written, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(map(_spelled, get_args(kind)))
    if get_origin(kind) is dict:
        return f"map of {' to '.join(map(_spelled, get_args(kind)))}"
    if get_origin(kind) in (tuple, list):
        return f"list of {_spelled(get_args(kind)[0])}"
    return {"NoneType": "null", "str": "text", "int": "whole number", "float": "number", "bool": "true | false", "Path": "file"}.get(
        getattr(kind, "__name__", ""), str(kind)
    )


def _of_registry(summary: str, find: Callable[[], Registry[Any]], *, has_options: bool = True) -> Command:
    def declare(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="show this one in full" + (", with its options" if has_options else ""))
        if has_options:
            parser.add_argument("--options", action="store_true", help="show the options of each, with defaults")

    def run(args: argparse.Namespace) -> int:
        registry = find()
        if args.name is not None:
            text = inspect.getdoc(registry.get(args.name)) or ""
            sys.stdout.write(f"{args.name}: {text}\n")
        width = max(map(len, registry.names()), default=0)
        for name in registry.names() if args.name is None else [args.name]:
            if args.name is None:
                sys.stdout.write(f"{name:<{width}}  {registry.summary(name)}\n")
            if has_options and (args.name is not None or args.options):
                sys.stdout.write("".join(f"    {line}\n" for line in options(registry, name)))
        return 0

    return Command(summary=summary, declare=declare, run=run)


def _methods() -> Registry[Any]:
    from darts_core.methods import METHODS

    return METHODS


def _spaces() -> Registry[Any]:
    from darts_core.spaces import SPACES

    return SPACES


def _ops() -> Registry[Any]:
    from darts_core.ops import OPS

    return OPS


def _baselines() -> Registry[Any]:
    from darts_core.nets.baselines import BASELINES

    return BASELINES


def _datasets() -> Registry[Any]:
    from darts_core.data import DATASETS

    return DATASETS


def _list_genotypes(args: argparse.Namespace) -> int:
    from darts_core.genotype import published, published_names, published_source

    width = max(map(len, published_names()))
    for name in published_names():
        sys.stdout.write(f"{name:<{width}}  {len(published(name).cell('normal').nodes)} nodes, from {published_source(name)}\n")
    return 0


COMMANDS = {
    "methods": _of_registry("list the search methods (method.name)", _methods),
    "spaces": _of_registry("list the search spaces (space.name)", _spaces),
    "ops": _of_registry("list the operations (space.primitives)", _ops, has_options=False),
    "datasets": _of_registry("list the data sets (data.name)", _datasets),
    "baselines": _of_registry("list the networks to compare with (retrain.baselines)", _baselines, has_options=False),
    "genotypes": Command(summary="list the published genotypes (derive.genotype)", declare=lambda parser: None, run=_list_genotypes),
}
