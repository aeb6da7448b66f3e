"""What a search is made of is a dependency of its stage, so that DVC repeats it where that changes."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROOMS = ("engine", "methods", "nets", "ops", "search", "spaces", "supernet")


def imported(path):
    """The project's modules that a file imports, those of a package by name, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "darts_core":
            module = ROOT / Path(*node.module.split("."))
            named = [module, *(module / alias.name for alias in node.names)]
            yield from (found for each in named for found in (each.with_suffix(".py"), each / "__init__.py") if found.exists())


def closure(start):
    seen, waiting = set(), [start]
    while waiting:
        if (path := waiting.pop()) not in seen:
            seen.add(path)
            waiting += imported(path)
    return seen


def test_the_search_depends_on_all_that_it_computes_with():
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["search"]["deps"]
    used = {path.relative_to(ROOT).as_posix() for path in closure(ROOT / "stages" / "search.py")}
    assert "darts_core/engine/search.py" in used
    missing = [
        path for path in used if path.split("/")[1] in ROOMS and not any(path == dep or path.startswith(f"{dep}/") for dep in listed)
    ]
    assert not missing


@pytest.mark.parametrize("module", ["pipeline/search.py", "pipeline/short_training.py", "pipeline/rank_disorder.py"])
def test_so_does_it_on_what_puts_it_together(module):
    assert f"darts_core/{module}" in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["search"]["deps"]
