"""Methods times seeds as experiments: what each one changes in params.yaml."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darts_core.components import COMPONENTS, cross_check
from darts_core.config import ConfigError, from_mapping, yaml_lines


class ExperimentError(ValueError):
    """Experiments cannot be planned, queued or followed; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One method with one seed. ``changes`` are DVC's -S; ``name`` has a digest of all parameters: others, another one."""

    name: str
    method: str
    seed: int
    changes: tuple[str, ...]


def plan(
    params: Mapping[str, Any], methods: Sequence[str], *, seeds: Sequence[int], common: Sequence[str], folder: Path
) -> list[Experiment]:
    """Return an experiment for each seed and method, seeds outermost, so that whole rounds are finished first.

    ``params`` is what params.yaml in ``folder`` says, ``common`` (``section.key=value``) what all change in it. A method is a name, or has
    changes of its own behind a colon: ``gaea:search.arch_lr=0.1,edge_weights=true``, where a key without a dot is an option of the method.
    Raise ``ExperimentError`` with every fault of the parameters that come of it, and for what is named twice.
    """
    if len(set(methods)) < len(methods) or len(set(seeds)) < len(seeds):
        raise ExperimentError(f"--methods and --seeds: each once expected. Got {' '.join(methods)} and {' '.join(map(str, seeds))}.")
    planned, faults = [], []
    for seed in seeds:
        for label in methods:
            values = _changed(params, label, [*common, f"seed={seed}"])
            try:
                from_mapping(values, components=COMPONENTS, cross_check=partial(cross_check, folder=folder))
            except ConfigError as error:
                faults.append(f"--methods {label}: {error}")
                continue
            digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
            name = f"compare-{label.partition(':')[0]}-{seed}-{digest}"
            planned.append(Experiment(name=name, method=label, seed=seed, changes=tuple(overrides(params, values))))
    if faults:
        raise ExperimentError("\n".join(dict.fromkeys(faults)))
    return planned


def _changed(params: Mapping[str, Any], label: str, common: Sequence[str]) -> dict[str, Any]:
    """Return ``params`` with another method and further changes. Options of the method that params.yaml names are that one's alone."""
    name, _, own = label.partition(":")
    values: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value for key, value in params.items()}
    if values.get("method", {}).get("name") != name:
        values["method"] = {"name": name}
    options = [item if "." in item.partition("=")[0] else f"method.{item}" for item in own.split(",") if item]
    for item in [*common, *options]:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not text or key.count(".") > 1 or not all(part.isidentifier() for part in key.split(".")):
            raise ExperimentError(f"Expected section.key=value, such as search.epochs=5. Got '{item}'.")
        section, dot, rest = key.rpartition(".")
        target = values.setdefault(section, {}) if dot else values
        target[rest] = yaml_lines.read(f"- {text}\n", source=item).values[0]
    return values


def overrides(params: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return what makes ``values`` of ``params``, as DVC's -S takes it: the grammar of Hydra, ``~`` for a key that goes."""
    found = []
    for section, value in values.items():
        if not isinstance(value, Mapping):
            found += [f"++{section}={_spelt(value)}"] if params.get(section) != value else []
            continue
        before = params.get(section) or {}
        found += [f"~{section}.{key}" for key in before if key not in value]
        found += [f"++{section}.{key}={_spelt(new)}" for key, new in value.items() if key not in before or before[key] != new]
    return found


def _spelt(value: Any) -> str:
    if isinstance(value, str):
        # Hydra takes a backslash for itself unless a quote follows.
        return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(_spelt, value)) + "]"
    return json.dumps(value)
