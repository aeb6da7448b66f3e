"""The files around the package say the same thing: README, pyproject, constraints, changelog and .ci/run."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from darts_core.cli import COMMANDS
from darts_core.components import COMPONENTS
from darts_core.config import SearchConfig, parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow"}


def blocks(language: str) -> list[str]:
    """Return the fenced code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_set_up_is_two_commands():
    commands = [line for block in blocks("bash") for line in block.splitlines() if "-m venv" in line]
    assert commands == [
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e . && dvc repro",
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[test]' && pytest",
    ]


def test_ci_runs_the_readme_s_test_command():
    [pattern] = re.findall(r"grep -m 1 -E '(.*)' README\.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert re.findall(pattern, README, flags=re.MULTILINE) == [
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[test]' && pytest"
    ]


def test_constraints_hold_every_direct_dependency_and_nothing_else():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines), "exact releases, without a local build"
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    wanted = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]]
    assert sorted(pinned) == sorted(canonicalize_name(requirement.name) for requirement in wanted)
    for requirement in wanted:
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_every_library_that_is_imported_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    undeclared = set()
    for path in [*(ROOT / "darts_core").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"darts_core", "stages"}:
                if canonicalize_name(MODULES.get(top, top)) not in declared:
                    undeclared.add(f"{path.relative_to(ROOT)}:{node.lineno}: {top}")
    assert not undeclared, sorted(undeclared)


def test_the_readme_s_darts_commands_exist():
    used = {line.split()[1] for block in blocks("bash") for line in block.splitlines() if line.startswith("darts ")}
    assert used <= set(COMMANDS)
    assert {"check", "preset", "ui", "genotypes"} <= used


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_readme_s_parameters_are_right(text):
    parse(text, components=COMPONENTS)


def test_the_tree_names_every_file_with_a_purpose():
    listed, folders = set(), []
    for line in README.partition("## The tree\n")[2].partition("```\n")[2].partition("```")[0].splitlines():
        indent, name, purpose = re.fullmatch(r"( *)(\S+) *(.*)", line).groups()
        folders = folders[: len(indent) // 2]
        assert purpose, f"{line}: no purpose"
        if name.endswith("/"):
            folders.append(name)
        else:
            listed.add("".join([*folders, name]))
    kinds = {".py", ".json", ".yaml", ".mplstyle", ".cpp", ".h"}
    shown = [path for folder in ("darts_core", "stages") for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    present = {str(path.relative_to(ROOT)) for path in shown if path.name != "__init__.py"}
    assert {name for name in listed if name.startswith(("darts_core/", "stages/"))} == present
    assert all((ROOT / name).exists() for name in listed)


def test_the_changelog_knows_what_is_released():
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["version"] in headings or len(headings) == 1


def test_dvc_depends_on_every_key_of_the_search_that_changes_its_result():
    """Listed one by one, so that a search that ran out of memory is not lost when it goes on in lean mode."""
    listed = {
        key.partition(".")[2] for key in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["search"]["params"] if "search." in key
    }
    assert listed == set(SearchConfig.model_fields) - {"memory", "memory_budget_mib"}
