import re
from collections import Counter

import networkx
import pytest
import torch

from darts_core.genotype import published
from darts_core.report.graph import state_name, to_dot, to_networkx
from darts_core.spaces import SPACES
from darts_core.spaces.nasbench201 import from_string

EDGE = re.compile(r'^  "((?:[^"\\]|\\.)*)" -> "((?:[^"\\]|\\.)*)" \[(?:label="((?:[^"\\]|\\.)*)", )?color=', re.MULTILINE)


def expected_edges(cell):
    edges = [(state_name(edge.src), state_name(state), edge.op) for state, edge in cell.edges]
    return Counter(edges + [(state_name(state), "c_{k}", "concat") for state in cell.concat])


def test_the_graph_has_the_edges_of_the_genotype(cell):
    graph = to_networkx(cell)
    assert Counter(graph.edges(data="op")) == expected_edges(cell)
    assert list(graph.nodes) == ["c_{k-2} (0)", "c_{k-1} (1)", *map(str, range(2, 2 + len(cell.nodes))), "c_{k}"]


def test_the_graph_can_be_analysed():
    graph = to_networkx(published("DARTS_V2").normal)
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.dag_longest_path_length(networkx.DiGraph(graph)) == 3  # input, node 2, node 5, output
    assert [name for name, role in graph.nodes(data="role") if role == "input"] == ["c_{k-2} (0)", "c_{k-1} (1)"]


def test_parallel_edges_stay_apart(parallel):
    graph = to_networkx(parallel.normal)
    assert graph.number_of_edges("c_{k-1} (1)", "2") == 2
    assert graph.number_of_edges("c_{k-2} (0)", "3") == 2


def test_dot_names_every_edge_once(cell):
    found = EDGE.findall(to_dot(cell, title="Normal cell"))
    assert Counter((src, dst, op or "concat") for src, dst, op in found) == expected_edges(cell)


def test_dot_quotes_what_it_is_given(parallel):
    source = to_dot(parallel.normal, title='a "quoted" \\ title\nof two lines')
    assert source.startswith('digraph "a \\"quoted\\" \\\\ title\\nof two lines" {')
    assert source.count("{") - source.count("c_{") == 1
    assert source.endswith("}\n")


@pytest.mark.parametrize("space", sorted(SPACES.names()))
def test_states_are_called_by_the_numbers_that_the_genotype_and_the_edges_of_its_space_have(space):
    """The inputs, too: ``c_{k-1} (0)`` is what a genotype's ``src: 0`` reads in a cell of one input."""
    built = SPACES.build(space)
    genotype = built.random_genotype(torch.Generator().manual_seed(0))
    for cell_type, cell in genotype.to_dict()["cells"].items():
        drawn = EDGE.findall(to_dot(genotype.cell(cell_type), title=cell_type))
        first = cell.get("inputs", 2)
        written = [(edge["src"], dst, edge["op"]) for dst, node in enumerate(cell["nodes"], start=first) for edge in node]
        assert [(number(src), number(dst), op) for src, dst, op in drawn if op] == written
        assert {f"{src}-{dst}" for src, dst, _ in written} <= set(built.edge_names)
        assert [number(src) for src, _, op in drawn if not op] == cell["concat"]


def test_a_nasbench201_string_names_the_sources_that_are_drawn():
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    drawn = [(op, number(src)) for src, _, op in EDGE.findall(to_dot(from_string(text).normal, title="cell")) if op]
    assert drawn == [(op, int(src)) for op, src in re.findall(r"([^|~+]+)~(\d+)", text)]


def number(name):
    return int(re.fullmatch(r"(?:c_\{k-[12]\} \()?(\d+)\)?", name)[1])
