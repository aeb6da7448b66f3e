"""The house rules, read off the syntax trees: who may import whom, how long things may be, and what is never written."""

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (  # lowest first; rooms of one line do not know each other
    ("registry", "metrics"),
    ("strict_json",),
    ("config", "genotype"),
    ("runtime",),
    ("ops", "data"),
    ("nets",),
    ("supernet",),
    ("spaces",),
    ("search",),
    ("methods",),
    ("engine",),
    ("tracking", "report", "compress", "hardware"),
    ("__init__", "components", "api", "pipeline", "cli"),  # the top: these may know everything, each other too
)
LAYERS = {room: height for height, line in enumerate(LINES) for room in line}
TOP = len(LINES) - 1
OWNERS = {"mlflow": "tracking", "matplotlib": "report", "networkx": "report", "torchvision": "data", "sklearn": "data", "argparse": "cli"}
BOTTOM = {*LINES[0], *LINES[1], *LINES[2]}
BOTTOM_MAY_IMPORT = {"torch", "numpy", "pydantic", "yaml", "darts_core"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_YAML = {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"}
NAMES_WITHOUT_AN_IDEA = {"utils", "util", "common", "helpers", "helper", "misc"}

Faults = Iterator[tuple[int, str]]


def room_of(path: Path) -> str:
    """Return the room of a file below darts_core/: its first folder, or its own name."""
    parts = path.relative_to("darts_core").parts
    return parts[0].removesuffix(".py")


def in_package(path: Path) -> bool:
    return path.parts[0] == "darts_core"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every imported module; ``from a import b`` as ``a.b``, of which ``a`` is the module and b perhaps too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def layers(path: Path, tree: ast.AST) -> Faults:
    """Import from a strictly lower layer, or from your own room."""
    if not in_package(path):
        return
    room = room_of(path)
    if room not in LAYERS:
        yield 1, f"the room '{room}' has no layer: add it to LINES here and to the tree in README.md"
        return
    for line, name in imports(tree):
        parts = name.split(".")
        if parts[0] == "":
            yield line, "a relative import: write it out, so that the layer can be seen"
        elif parts[0] == "darts_core" and len(parts) > 1 and not parts[1].startswith("__"):
            other = parts[1] if parts[1] in LAYERS else "__init__"
            if other != room and LAYERS[other] >= LAYERS[room] and LAYERS[room] < TOP:
                yield line, f"'{room}' (layer {LAYERS[room]}) imports '{other}' (layer {LAYERS[other]}); only lower layers may be imported"
        elif parts[0] == "darts_core" and len(parts) == 1 and LAYERS[room] < TOP:
            yield line, "imports darts_core itself, which is the top layer"


def third_party(path: Path, tree: ast.AST) -> Faults:
    """A library that only one room may know; stages and the bottom layer keep to what they are given."""
    place = room_of(path) if in_package(path) else path.parts[0]
    if place in ("tests", "benchmarks"):
        return
    for line, name in imports(tree):
        top = name.split(".")[0]
        if OWNERS.get(top, place) != place:
            yield line, f"only {OWNERS[top]} may import {top}"
        if place in BOTTOM and top not in BOTTOM_MAY_IMPORT | set(sys.stdlib_module_names):
            yield line, f"the bottom imports {top}; it keeps to the standard library, torch, numpy, pydantic and yaml"


def one_recipe_a_file(path: Path, tree: ast.AST) -> Faults:
    """No method imports another."""
    if in_package(path) and room_of(path) == "methods" and path.stem != "__init__":
        for line, name in imports(tree):
            rest = name.removeprefix("darts_core.methods.")
            if rest != name and (Path(ROOT, path).parent / f"{rest.split('.')[0]}.py").exists():
                yield line, f"imports the method '{rest.split('.')[0]}'; share a part in darts_core/search instead"


def spelling(path: Path, tree: ast.AST) -> Faults:
    """No star import anywhere; no bare except, print or global in darts_core."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield node.lineno, "star import"
        if not in_package(path):
            continue
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        if isinstance(node, ast.Global):
            yield node.lineno, "global"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield node.lineno, "print; a command writes with sys.stdout.write, the rest logs"


def nothing_is_evaluated(path: Path, tree: ast.AST) -> Faults:
    """No eval, exec or pickle, in whatever dress."""
    for line, name in imports(tree):
        if name.split(".")[0] in UNSAFE_MODULES:
            yield line, f"imports {name.split('.')[0]}, which runs code from files"
    for call, name in calls(tree):
        keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if name in ("eval", "exec", "compile", "__import__") and hasattr(builtins, name):
            yield call.lineno, f"{name}()"
        if name in UNSAFE_YAML and not re.search(
            r"\bC?SafeLoader$", ",".join([*map(ast.unparse, call.args), keywords.get("Loader", "")]).rstrip(",")
        ):
            yield call.lineno, f"{name} without SafeLoader"
        if name == "torch.load" and keywords.get("weights_only") != "True":
            yield call.lineno, "torch.load without weights_only=True"
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
            yield call.lineno, f"{name} with allow_pickle"


def sizes(path: Path, tree: ast.AST) -> Faults:
    """Files of at most 300 lines, recipes of 150, functions of 50; the engine's loops may be long and straight."""
    length = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    limit = 150 if in_package(path) and room_of(path) == "methods" else 300
    if length > limit:
        yield length, f"{length} lines; at most {limit}"
    if path.stem in NAMES_WITHOUT_AN_IDEA:
        yield 1, f"'{path.stem}' says nothing: name the file by its idea"
    if in_package(path) and room_of(path) != "engine":
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 50:
                yield node.lineno, f"{node.name} has {node.end_lineno - node.lineno + 1} lines; at most 50"


RULES = [layers, third_party, one_recipe_a_file, spelling, nothing_is_evaluated, sizes]
FILES = sorted(
    path.relative_to(ROOT) for folder in ("darts_core", "stages", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    return {path: ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path)) for path in FILES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule, trees):
    faults = dict.fromkeys(f"{path}:{line}: {message}" for path, tree in trees.items() for line, message in rule(path, tree))
    assert not faults, "\n" + "\n".join(faults)


BROKEN = [
    (layers, "darts_core/ops/x.py", "from darts_core.search.derive import strongest_edges"),
    (layers, "darts_core/ops/x.py", "def f():\n    import darts_core.data"),
    (layers, "darts_core/report/x.py", "from darts_core import tracking"),
    (layers, "darts_core/report/x.py", "from darts_core import search_architecture"),
    (layers, "darts_core/report/x.py", "import darts_core"),
    (layers, "darts_core/report/x.py", "from .graph import to_dot"),
    (layers, "darts_core/attic/x.py", "x = 1"),
    (third_party, "darts_core/engine/x.py", "def f():\n    import mlflow"),
    (third_party, "darts_core/data/x.py", "import matplotlib.pyplot as plt"),
    (third_party, "darts_core/hardware/x.py", "from torchvision import datasets"),
    (third_party, "stages/x.py", "import argparse"),
    (third_party, "darts_core/metrics/x.py", "import pandas"),
    (one_recipe_a_file, "darts_core/methods/x.py", "from darts_core.methods.darts import darts"),
    (spelling, "darts_core/ops/x.py", "from torch import *"),
    (spelling, "darts_core/ops/x.py", "try:\n    pass\nexcept:\n    pass"),
    (spelling, "darts_core/ops/x.py", "def f():\n    global x"),
    (spelling, "darts_core/ops/x.py", "print(1)"),
    (nothing_is_evaluated, "tests/x.py", "import pickle"),
    (nothing_is_evaluated, "tests/x.py", "x = eval('1')"),
    (nothing_is_evaluated, "stages/x.py", "yaml.load(text, Loader=yaml.Loader)"),
    (nothing_is_evaluated, "stages/x.py", "torch.load(path)"),
    (nothing_is_evaluated, "stages/x.py", "torch.load(path, weights_only=False)"),
    (nothing_is_evaluated, "stages/x.py", "np.load(path, allow_pickle=True)"),
]


@pytest.mark.parametrize(("rule", "path", "source"), BROKEN, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_rule_finds_what_breaks_it(rule, path, source):
    assert list(rule(Path(path), ast.parse(source)))


KEPT = [
    (
        layers,
        "darts_core/search/x.py",
        "from darts_core import registry\nfrom darts_core.search.relax import softmax\nfrom darts_core import __version__",
    ),
    (layers, "darts_core/cli/x.py", "from darts_core.components import load_params\nfrom darts_core.tracking import ui"),
    (third_party, "darts_core/tracking/x.py", "import mlflow"),
    (third_party, "tests/x.py", "import mlflow, sklearn"),
    (nothing_is_evaluated, "stages/x.py", "yaml.load(text, Loader=yaml.SafeLoader); yaml.load(text, yaml.CSafeLoader); model.eval()"),
    (nothing_is_evaluated, "stages/x.py", "torch.load(path, weights_only=True); np.load(path, allow_pickle=False); re.compile('x')"),
]


@pytest.mark.parametrize(("rule", "path", "source"), KEPT, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_rule_leaves_alone_what_keeps_it(rule, path, source):
    assert not list(rule(Path(path), ast.parse(source)))


def test_long_files_and_functions_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    source = "def f():\n" + "    x = 1\n" * 50 + "\n" * 260
    for name in ("darts_core/ops/x.py", "darts_core/methods/y.py", "darts_core/engine/z.py", "tests/helpers.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    found = {
        name: [m for _, m in sizes(Path(name), ast.parse(source))]
        for name in ("darts_core/ops/x.py", "darts_core/methods/y.py", "darts_core/engine/z.py", "tests/helpers.py")
    }
    assert found["darts_core/ops/x.py"] == ["311 lines; at most 300", "f has 51 lines; at most 50"]
    assert found["darts_core/methods/y.py"] == ["311 lines; at most 150", "f has 51 lines; at most 50"]
    assert found["darts_core/engine/z.py"] == ["311 lines; at most 300"]
    assert found["tests/helpers.py"] == ["311 lines; at most 300", "'helpers' says nothing: name the file by its idea"]


def test_there_is_something_to_read():
    assert len([path for path in FILES if in_package(path)]) > 40
