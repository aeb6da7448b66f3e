"""Fewer edges and fewer operations: what the supernet, random genotypes and the derivation make of them, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import torch

from darts_core.methods import METHODS
from darts_core.search.derive import strongest_edges
from darts_core.spaces import SPACES
from darts_core.spaces.robust_darts import S1_EDGES

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
SMALL = {"init_channels": 2, "layers": 3, "nodes": 2, "primitives": ["none", "skip_connect", "sep_conv_3x3"]}


def build(edges, name="darts_cnn", **options):
    return SPACES.build(name, {**SMALL, **options, "edges": edges})


def supernet_of(space):
    torch.manual_seed(0)
    return METHODS.build("darts").supernet(space, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))


def test_an_edge_without_operations_is_gone_everywhere():
    space = build({"0-3": [], "1-2": []})
    assert space.edge_names == ["0-2", "1-3", "2-3"]
    supernet = supernet_of(space)
    assert supernet(torch.randn(2, 1, 8, 8)).isfinite().all()
    assert [len(cell.edges) for cell in supernet.cells] == [3, 3, 3]
    assert {name: tuple(alpha.shape) for name, alpha in supernet.arch.items()} == {"normal": (3, 3), "reduce": (3, 3)}
    op_EO = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    genotype = strongest_edges(dict.fromkeys(("normal", "reduce"), op_EO), primitives=space.primitives, shape=space.shape, space=space.name)
    found = [(state, edge.src, edge.op) for state, edge in genotype.cell("normal").edges]
    assert found == [(2, 0, "skip_connect"), (3, 2, "skip_connect"), (3, 1, "sep_conv_3x3")]
    assert space.num_cells() == 2 * 4
    for seed in range(5):
        drawn = space.random_genotype(torch.Generator().manual_seed(seed))
        assert {(edge.src, state) for cell in drawn.cells.values() for state, edge in cell.edges} == {(0, 2), (1, 3), (2, 3)}
        space.check(drawn)


def test_operations_of_an_edge_in_all_cells_or_in_one():
    space = build({"0-2": ["skip_connect"], "reduce/1-2": ["sep_conv_3x3"]})
    supernet = supernet_of(space)
    offered = {cell_type: dict(zip(space.edge_names, offer.names)) for cell_type, offer in supernet.offers.items()}
    every = tuple(SMALL["primitives"])
    assert (offered["normal"]["0-2"], offered["normal"]["1-2"]) == (("skip_connect",), every)
    assert (offered["reduce"]["0-2"], offered["reduce"]["1-2"]) == (("skip_connect",), ("sep_conv_3x3",))
    for seed in range(5):
        (first, second), _ = space.random_genotype(torch.Generator().manual_seed(seed)).cell("reduce").nodes
        assert (first.op, second.op) == ("skip_connect", "sep_conv_3x3")


def test_where_all_edges_are_kept_no_operation_means_none():
    space = SPACES.build("nasbench201", {"edges": {"0-1": []}})
    genotype = space.random_genotype(torch.Generator().manual_seed(0))
    assert space.spell(genotype).startswith("|none~0|+")


def test_a_cell_that_nothing_goes_through_is_refused():
    """Where none may be derived, edges may offer it alone, but not all on every way to the output."""
    ways = {"0-3": [], "1-3": [], "0-2": [], "1-2": []}  # 2-3 is left, which nothing leads to
    with pytest.raises(ValueError, match=r"space\.edges leaves the normal cell no way .* such as 0-3\."):
        SPACES.build("nasbench201", {"edges": ways})
    for left in ("0-3", "0-2"):
        space = SPACES.build("nasbench201", {"edges": {name: ops for name, ops in ways.items() if name != left}})
        space.check(space.random_genotype(torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"0-4": []}, "no edge is called '0-4' (did you mean '0-3'?). Known: 0-2, 1-2, 0-3, 1-3, 2-3."),
        ({"0-2": ["sep_conv_5x5"]}, "'0-2' offers no 'sep_conv_5x5' (did you mean 'sep_conv_3x3'?). Known there: none, skip_connect,"),
        ({"first/0-2": ["none"]}, "no cell is called 'first', in 'first/0-2'. Known: 0-2, normal/0-2, reduce/0-2."),
        ({"normal/0-2": []}, "'normal/0-2' must hold an operation, for an edge is left out of all cells or none: '0-2: []'."),
        ({"0-2": [], "1-2": []}, "leaves the node 2 no edge. At least one of those that end in -2 expected."),
    ],
)
def test_a_fault_is_named_with_what_is_known(edges, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        build(edges)
    assert str(caught.value).startswith("space.edges")


def test_s1_has_the_published_operations_of_each_edge():
    path = REFERENCE / "robust_darts_spaces.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    published = json.loads(path.read_text())["spaces"]
    for name in ("s1", "s2", "s3", "s4"):
        space = SPACES.build(name)
        offered = {cell_type: [sorted(names) for names in offer.names] for cell_type, offer in space.offers().items()}
        assert offered == {cell_type: [sorted(names) for names in rows] for cell_type, rows in published[name.upper()].items()}


def test_fewer_primitives_must_leave_every_edge_one():
    assert SPACES.build("s1", {"nodes": 1, "primitives": ["skip_connect", "max_pool_3x3"]}).edge_primitives == {
        "normal": (("skip_connect",), ("skip_connect",)),
        "reduce": (("max_pool_3x3",), ("max_pool_3x3",)),
    }
    with pytest.raises(
        ValueError, match=r"space\.primitives leaves the edge 0-2 of the reduce cell nothing to choose: at least one of max_pool"
    ):
        SPACES.build("s1", {"primitives": ["skip_connect", "dil_conv_3x3", "dil_conv_5x5"]})
    with pytest.raises(ValueError, match=r"space\.primitives: the space has no 'sep_conv_5x5' \(did you mean 'sep_conv_3x3'\?\)\. Known: "):
        SPACES.build("s1", {"primitives": ["sep_conv_5x5"]})
    with pytest.raises(ValueError, match=r"space\.nodes must be at most 4 in s1"):
        SPACES.build("s1", {"nodes": 5})
    assert len(S1_EDGES["normal"]) == 14
