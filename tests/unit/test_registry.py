"""The registry: selection by name, the signature as schema, and messages that say what to change."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from darts_core.registry import Registry, discover, suggest


@pytest.fixture
def registry() -> Registry[dict]:
    parts: Registry[dict] = Registry("method", key="method")

    @parts.register("darts")
    def darts(
        *,
        lr: float = 0.1,
        steps: int = 3,
        exact: bool = False,
        names: tuple[str, ...] = ("a",),
        rule: Literal["x", "y"] = "x",
        limit: int | None = None,
    ) -> dict:
        """First line.

        More lines.
        """
        return {"lr": lr, "steps": steps, "exact": exact, "names": names, "rule": rule, "limit": limit}

    @parts.register("needs")
    def needs(*, size: int) -> dict:
        return {"size": size}

    return parts


def test_names_are_sorted_and_iterable(registry):
    assert registry.names() == ["darts", "needs"]
    assert list(registry) == ["darts", "needs"]
    assert "darts" in registry
    assert "dart" not in registry


def test_a_name_is_taken_once(registry):
    with pytest.raises(ValueError, match="method 'darts' is registered twice"):
        registry.register("darts")(dict)


def test_unknown_name_lists_the_known_ones_and_suggests(registry):
    with pytest.raises(ValueError, match=r"method\.name: no method is called 'drats' \(did you mean 'darts'\?\)\. Known: darts, needs\."):
        registry.get("drats")
    assert registry.errors("Darts", {})[0][0] == "method.name"


def test_summary_is_the_first_line(registry):
    assert registry.summary("darts") == "First line."
    assert registry.summary("needs") == ""


def test_options_are_the_keyword_only_parameters(registry):
    options = registry.options("darts")
    assert list(options) == ["lr", "steps", "exact", "names", "rule", "limit"]
    assert options["lr"].default == 0.1


def test_build_fills_defaults_and_shapes_values(registry):
    built = registry.build("darts", {"lr": 1, "names": ["b", "c"], "limit": 4})
    assert built == {"lr": 1.0, "steps": 3, "exact": False, "names": ("b", "c"), "rule": "x", "limit": 4}
    assert isinstance(built["lr"], float)
    assert isinstance(built["names"], tuple)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lr", True, "must be a number. Got true."),
        ("lr", "0.1", "must be a number. Got '0.1'."),
        ("lr", float("nan"), "must be a finite number. Got nan."),
        ("steps", True, "must be a whole number. Got true."),
        ("steps", "64", "must be a whole number. Got '64'."),
        ("steps", 3.0, "must be a whole number. Got 3.0."),
        ("steps", None, "must be a whole number. Got null."),
        ("exact", 1, "must be true or false. Got 1."),
        ("exact", "yes", "must be true or false. Got 'yes'."),
        ("names", ["a", 3], "must be text, in quotes where it looks like something else. Got 3."),
        ("names", "a", "must be a list such as [a, b]. Got 'a'."),
        ("names", None, "must be a list such as [a, b]. Got null."),
        ("rule", "z", "must be 'x' or 'y'. Got 'z'."),
        ("limit", "x", "must be a whole number. Got 'x'."),
    ],
)
def test_a_wrong_type_is_a_fault_not_a_guess(registry, option, value, message):
    assert registry.errors("darts", {option: value}) == [(f"method.{option}", message)]
    with pytest.raises(ValueError, match=rf"method\.{option}: must be"):
        registry.build("darts", {option: value})


def test_all_faults_at_once(registry):
    faults = dict(registry.errors("darts", {"lrr": 1, "steps": "x", "exact": 3}))
    assert set(faults) == {"method.lrr", "method.steps", "method.exact"}
    assert "not an option of method 'darts' (did you mean 'lr'?)" in faults["method.lrr"]
    assert "Known: lr, steps, exact, names, rule, limit." in faults["method.lrr"]


def test_keys_beside_the_options_are_suggested(registry):
    [(_, message)] = registry.errors("needs", {"size": 1, "split_sed": 1}, beside=["name", "split_seed"])
    assert "did you mean 'split_seed'?" in message
    assert message.endswith("Known: size, split_seed.")


def test_a_missing_option_without_default_is_a_fault(registry):
    assert registry.errors("needs", {}) == [("method.size", "missing: method 'needs' needs it.")]
    assert registry.build("needs", {"size": 2}) == {"size": 2}


def test_classes_are_checked_by_their_constructor():
    shapes: Registry[object] = Registry("shape", key="space")

    @shapes.register("plain")
    class Plain:
        def __init__(self, *, size: int = 1) -> None:
            self.size = size

    @shapes.register("record")
    @dataclass(kw_only=True)
    class Record:
        size: int = 1

    for name in ("plain", "record"):
        assert shapes.errors(name, {"size": "3"}) == [("space.size", "must be a whole number. Got '3'.")]
        assert shapes.build(name, {"size": 3}).size == 3


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("epoch", ["epochs", "lr"], " (did you mean 'epochs'?)"),
        ("darts_v2", ["DARTS_V1", "DARTS_V2"], " (did you mean 'DARTS_V2'?)"),
        ("zzz", ["epochs"], ""),
        ("x", [], ""),
    ],
)
def test_suggest(name, known, expected):
    assert suggest(name, known) == expected


def test_discover_imports_every_file_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "found_by_discover"
    package.mkdir()
    (package / "__init__.py").write_text("seen = []\n")
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(f"from found_by_discover import seen\nseen.append({name!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    discover("found_by_discover")
    assert sorted(sys.modules.pop("found_by_discover").seen) == ["one", "two"]
    for name in ("one", "two"):
        del sys.modules[f"found_by_discover.{name}"]


def test_options_that_every_entry_has_come_beside_its_own():
    def common(built: dict, *, size: int | None = None, rule: Literal["x", "y"] = "x") -> dict:
        return {**built, "common": (size, rule)}

    parts: Registry[dict] = Registry("method", key="method", common=common)

    @parts.register("own")
    def own(*, size: int = 1) -> dict:
        return {"size": size}

    assert list(parts.options("own")) == ["size", "rule"]
    assert parts.types("own")["size"] is int
    assert parts.build("own", {"size": 2}) == {"size": 2}, "its own option comes first"
    assert parts.build("own", {"rule": "y"}) == {"size": 1, "common": (None, "y")}
    assert parts.errors("own", {"rule": "z"}) == [("method.rule", "must be 'x' or 'y'. Got 'z'.")]
    assert parts.errors("own", {"rul": "x"})[0][1].startswith("not an option of method 'own' (did you mean 'rule'?)")
