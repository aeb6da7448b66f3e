"""Edits keep every other character; values mean in the file what they meant on the command line."""

import pytest
import yaml

from darts_core.cli.yaml_edit import EditError, assign, assignment, without

TEXT = """\
# top
seed: 0         # of everything

search:
  epochs: 15    # passes
  lr: 0.025
  names: [a, b] # listed
retrain:
  deep:
    - x
"""


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("seed", "1", "seed: 0         # of", "seed: 1         # of"),
        ("search.epochs", "5", "epochs: 15    # passes", "epochs: 5     # passes"),
        ("search.epochs", "1500000", "epochs: 15    # passes", "epochs: 1500000  # passes"),
        ("search.lr", "3e-4", "lr: 0.025\n", "lr: 3e-4\n"),
        ("search.names", "[]", "names: [a, b] # listed", "names: []     # listed"),
    ],
)
def test_a_value_changes_in_place(key, value, old, new):
    assert assign(TEXT, key, value) == TEXT.replace(old, new)


def test_a_key_that_is_not_there_joins_its_section():
    assert assign(TEXT, "search.momentum", "0.5") == TEXT.replace("# listed\n", "# listed\n  momentum: 0.5\n")
    assert assign(TEXT, "data.name", "digits") == TEXT + "\ndata:\n  name: digits\n"
    assert assign(TEXT, "size", "3") == TEXT + "\nsize: 3\n"


def test_several_changes_to_the_same_section():
    text = assign(assign(TEXT, "retrain.a", "1"), "retrain.b", "2")
    assert yaml.safe_load(text)["retrain"] == {"deep": ["x"], "a": 1, "b": 2}


def test_the_last_line_may_lack_its_newline():
    assert assign("a:\n  b: 1", "a.c", "2") == "a:\n  b: 1\n  c: 2\n"


@pytest.mark.parametrize("key", ["search", "retrain", "retrain.deep"])
def test_a_section_is_not_a_value(key):
    with pytest.raises(EditError, match=f"{key} is a section"):
        assign(TEXT, key, "1")


def test_a_line_goes_with_its_comment():
    assert without(TEXT, "search.epochs") == TEXT.replace("  epochs: 15    # passes\n", "")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("3.0e-4", 3e-4),
        ("null", None),
        ("[a, b]", ["a", "b"]),
        ("true", True),
        ("'5'", "5"),
        ('"a b"', "a b"),
        ("../my photos", "../my photos"),
        ("a: b", "a: b"),
        ("a #b", "a #b"),
        ("#a", "#a"),
        ("'a' #b", "'a' #b"),
        ("~/photos", "~/photos"),
        ("Null", "Null"),
        ("[a", "[a"),
        ("C:\\photos", "C:\\photos"),
        ("*x", "*x"),
        ("a=b", "a=b"),
    ],
)
def test_values_survive_the_way_through_yaml(written, value):
    key, text = assignment(f"data.root={written}")
    assert key == "data.root"
    assert yaml.safe_load(assign("data:\n  root: x  # kept\n", key, text)) == {"data": {"root": value}}
    assert assign("data:\n  root: x  # kept\n", key, text).endswith("  # kept\n")


@pytest.mark.parametrize("text", ["search.epochs", "=5", "search.epochs=", "", "search. epochs=3", "a.b.c=1", "search.epo-chs=1"])
def test_another_form_is_an_error(text):
    with pytest.raises(EditError, match="expected"):
        assignment(text)
