"""Genotypes: the JSON form and back, every malformed file by name, and the published ones."""

import json
import re

import pytest

from darts_core import genotype
from darts_core.genotype import Cell, Edge, Genotype, GenotypeError

CELL = {
    "nodes": [[{"op": "skip_connect", "src": 0}, {"op": "sep_conv_3x3", "src": 1}], [{"op": "max_pool_3x3", "src": 2}]],
    "concat": [2, 3],
}
GOOD = {"schema_version": 1, "space": "darts_cnn", "rule": "strongest_edges", "cells": {"normal": CELL, "reduce": CELL}}


def test_round_trip(tmp_path):
    path = tmp_path / "genotype.json"
    first = Genotype.from_dict(GOOD)
    first.save(path)
    assert Genotype.load(path) == first
    assert first.to_dict() == GOOD
    assert path.read_text().endswith("}\n")


def test_the_cell_is_what_the_file_says():
    cell = Genotype.from_dict(GOOD).cell("normal")
    assert cell.concat == (2, 3)
    assert cell.edges == ((2, Edge("skip_connect", 0)), (2, Edge("sep_conv_3x3", 1)), (3, Edge("max_pool_3x3", 2)))


def test_a_cell_type_must_be_known():
    with pytest.raises(ValueError, match=r"'normal', 'reduce' or 'layers'\. Got 'reduction'"):
        Genotype.from_dict(GOOD).cell("reduction")


def test_a_genotype_of_one_cell_with_one_input(tmp_path):
    cell = {"inputs": 1, "nodes": [[{"op": "none", "src": 0}], [{"op": "skip_connect", "src": 0}]], "concat": [2]}
    data = {**GOOD, "cells": {"normal": cell}}
    genotype = Genotype.from_dict(data)
    assert genotype.to_dict() == data
    assert genotype.normal.edges == ((1, Edge("none", 0)), (2, Edge("skip_connect", 0)))
    assert list(genotype.cells) == ["normal"]
    with pytest.raises(ValueError, match="A genotype of the space 'darts_cnn' has no reduce cell"):
        genotype.cell("reduce")


def test_the_cells_are_told_apart():
    data = json.loads(json.dumps(GOOD))
    data["cells"]["reduce"]["concat"] = [3]
    read = Genotype.from_dict(data)
    assert (read.cell("normal").concat, read.cell("reduce").concat) == ((2, 3), (3,))


def changed(path, value):
    """Return GOOD with the item at ``path`` replaced, or removed where ``value`` is Ellipsis."""
    data = json.loads(json.dumps(GOOD))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


NODES = ("cells", "normal", "nodes")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "an object with the keys ['cells', 'rule', 'schema_version', 'space'] expected. Got NoneType."),
        ([], "Got list."),
        ("DARTS_V2", "Got str."),
        (changed(["schema_version"], ...), "missing ['schema_version']"),
        (changed(["schema_version"], 2), "schema_version 1 expected. Got 2."),
        (changed(["schema_version"], "1"), "schema_version 1 expected. Got '1'."),
        (changed(["schema_version"], True), "schema_version 1 expected. Got True."),
        (changed(["schema_version"], 1.0), "schema_version 1 expected. Got 1.0."),
        (changed(["cels"], 1), "unknown key 'cels' (did you mean 'cells'?)"),
        (changed(["space"], None), "space must be a name. Got None."),
        (changed(["space"], ""), "space must be a name. Got ''."),
        (changed(["rule"], 3), "rule must be a name. Got 3."),
        (changed(["cells"], []), "cells: an object with the keys"),
        (changed(["cells", "normal"], ...), "cells: missing ['normal']"),
        (changed(["cells", "normal", "inputs"], 3), "normal cell: inputs must be 1 or 2. Got 3."),
        (changed(["cells", "normal", "inputs"], 2.0), "normal cell, inputs: a whole number expected. Got 2.0."),
        (changed(["cells", "normal", "inputs"], 1), "normal cell, node 1, edge 1: src 1 makes a cycle; node 1 may read the states 0 to 0."),
        (changed(["cells", "third"], CELL), "cells: unknown key 'third'"),
        (changed(["cells", "normal"], None), "normal cell: an object with the keys"),
        (changed(["cells", "normal", "concat"], ...), "normal cell: missing ['concat']"),
        (changed([*NODES], {}), "normal cell: nodes must be a list with at least one node. Got {}."),
        (changed([*NODES], []), "nodes must be a list with at least one node. Got []."),
        (changed([*NODES, 0], []), "normal cell, node 2: a list with at least one edge expected. Got []."),
        (changed([*NODES, 0], "skip"), "node 2: a list with at least one edge expected. Got 'skip'."),
        (changed([*NODES, 1, 0], ["skip_connect", 0]), "node 3, edge 0: an object with the keys ['op', 'src'] expected. Got list."),
        (changed([*NODES, 1, 0, "op"], ...), "node 3, edge 0: missing ['op']"),
        (changed([*NODES, 1, 0, "dst"], 3), "node 3, edge 0: unknown key 'dst'"),
        (changed([*NODES, 1, 0, "op"], 7), "node 3, edge 0: op must be a name. Got 7."),
        (changed([*NODES, 1, 0, "op"], ""), "node 3, edge 0: op must be a name. Got ''."),
        (changed([*NODES, 1, 0, "src"], "0"), "edge 0, src: a whole number expected. Got '0'."),
        (changed([*NODES, 1, 0, "src"], 0.0), "edge 0, src: a whole number expected. Got 0.0."),
        (changed([*NODES, 1, 0, "src"], True), "edge 0, src: a whole number expected. Got True."),
        (changed([*NODES, 1, 0, "src"], -1), "edge 0: src must be 0 to 2. Got -1."),
        (changed([*NODES, 1, 0, "src"], 3), "src 3 makes a cycle; node 3 may read the states 0 to 2."),
        (changed(["cells", "reduce", "concat"], []), "reduce cell: concat must be a list of states. Got []."),
        (changed(["cells", "reduce", "concat"], 3), "concat must be a list of states. Got 3."),
        (changed(["cells", "reduce", "concat"], [2, 2]), "concat names a state twice: [2, 2]."),
        (changed(["cells", "reduce", "concat"], [1, 2]), "concat may name the states 2 to 3. Got 1."),
        (changed(["cells", "reduce", "concat"], [2, 4]), "concat may name the states 2 to 3. Got 4."),
        (changed(["cells", "reduce", "concat"], [2, None]), "reduce cell, concat: a whole number expected. Got None."),
    ],
)
def test_a_malformed_genotype_is_named(tmp_path, data, message):
    path = tmp_path / "g.json"
    path.write_text(json.dumps(data))
    with pytest.raises(GenotypeError, match=re.escape(message)) as error:
        Genotype.load(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"Genotype(normal=[])", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"schema_version": 1, "rule": "a", "rule": "b"}', "the key 'rule' is given twice in one object"),
        (b'{"schema_version": NaN}', "schema_version 1 expected. Got nan."),
    ],
)
def test_what_is_not_json_is_named(tmp_path, text, message):
    path = tmp_path / "g.json"
    path.write_bytes(text)
    with pytest.raises(GenotypeError, match=re.escape(message)):
        Genotype.load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(GenotypeError, match=r"none\.json: cannot be read \(No such file"):
        Genotype.load(tmp_path / "none.json")
    with pytest.raises(GenotypeError, match="cannot be read"):
        Genotype.load(tmp_path)


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "g.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert Genotype.load(path) == Genotype.from_dict(GOOD)


@pytest.mark.parametrize("name", genotype.published_names())
def test_every_published_genotype_reads_back(tmp_path, name):
    first = genotype.published(name)
    first.save(tmp_path / "g.json")
    assert Genotype.load(tmp_path / "g.json") == first
    assert genotype.published_source(name)


def test_darts_v2_is_the_paper_s():
    second = genotype.published("DARTS_V2")
    assert second.normal == Cell(
        nodes=(
            (Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1)),
            (Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1)),
            (Edge("sep_conv_3x3", 1), Edge("skip_connect", 0)),
            (Edge("skip_connect", 0), Edge("dil_conv_3x3", 2)),
        ),
        concat=(2, 3, 4, 5),
    )
    assert second.reduce.nodes[1] == (Edge("skip_connect", 2), Edge("max_pool_3x3", 1))


def test_an_unknown_published_name_is_suggested():
    with pytest.raises(GenotypeError, match=r"no published genotype is called 'darts_v2' \(did you mean 'DARTS_V2'\?\).*AmoebaNet"):
        genotype.published("darts_v2")
