"""YAML with places: the line of every key and the characters of every value."""

import pytest

from darts_core.config import yaml_lines

TEXT = """\
# a comment
seed: 3  # another
search:
  epochs: 50
  names: [a, b]
  deep:
    - x
    - {y: off}
"""


def test_every_key_has_its_line():
    document = yaml_lines.read(TEXT, source="p.yaml")
    lines = {key: entry.line for key, entry in document.entries.items()}
    assert lines["seed"] == 2
    assert lines["search"] == 3
    assert lines["search.names.1"] == 5
    assert lines["search.deep.1.y"] == 8
    assert document.line_of("search.epoch") == 3
    assert document.line_of("nothing.at.all") == 1


def test_every_value_has_its_characters():
    document = yaml_lines.read(TEXT, source="p.yaml")

    def written(key: str) -> str:
        entry = document.entries[key]
        return TEXT[entry.start : entry.end]

    assert written("seed") == "3"
    assert written("search.names") == "[a, b]"
    assert document.entries["search.names"].inline
    assert not document.entries["search.deep"].inline


def test_values_are_yaml_1_2():
    values = yaml_lines.read("[off, yes, 1e3, 010, 1_0, 2020-01-01, 0x1, ~, null, true, 1:30, -1, 1.5]", source="p").values
    assert values == ["off", "yes", 1000.0, "010", "1_0", "2020-01-01", "0x1", None, None, True, "1:30", -1, 1.5]


def test_the_shared_loader_of_pyyaml_is_left_alone():
    import yaml

    assert yaml.safe_load("off") is False


def test_repeats_are_reported_once_and_by_the_outermost_key():
    document = yaml_lines.read("a: {b: 1}\na: {b: 2, c: 1, c: 2}\n", source="p")
    assert document.repeated == (("a", 1, 2),)


def test_a_fault_names_source_and_line():
    with pytest.raises(yaml_lines.YamlError, match=r"^p\.yaml:2: not YAML: "):
        yaml_lines.read("a: b\nc: d: e\n", source="p.yaml")
