import re
from collections import Counter

import networkx

from darts_core.genotype import published
from darts_core.report.graph import state_name, to_dot, to_networkx

EDGE = re.compile(r'^  "((?:[^"\\]|\\.)*)" -> "((?:[^"\\]|\\.)*)" \[(?:label="((?:[^"\\]|\\.)*)", )?color=', re.MULTILINE)


def expected_edges(cell):
    edges = [(state_name(edge.src), state_name(state), edge.op) for state, edge in cell.edges]
    return Counter(edges + [(state_name(state), "c_{k}", "concat") for state in cell.concat])


def test_the_graph_has_the_edges_of_the_genotype(cell):
    graph = to_networkx(cell)
    assert Counter(graph.edges(data="op")) == expected_edges(cell)
    assert list(graph.nodes) == ["c_{k-2}", "c_{k-1}", *map(str, range(len(cell.nodes))), "c_{k}"]


def test_the_graph_can_be_analysed():
    graph = to_networkx(published("DARTS_V2").normal)
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.dag_longest_path_length(networkx.DiGraph(graph)) == 3  # input, node 0, node 3, output
    assert [name for name, role in graph.nodes(data="role") if role == "input"] == ["c_{k-2}", "c_{k-1}"]


def test_parallel_edges_stay_apart(parallel):
    graph = to_networkx(parallel.normal)
    assert graph.number_of_edges("c_{k-1}", "0") == 2
    assert graph.number_of_edges("c_{k-2}", "1") == 2


def test_dot_names_every_edge_once(cell):
    found = EDGE.findall(to_dot(cell, title="Normal cell"))
    assert Counter((src, dst, op or "concat") for src, dst, op in found) == expected_edges(cell)


def test_dot_quotes_what_it_is_given(parallel):
    source = to_dot(parallel.normal, title='a "quoted" \\ title\nof two lines')
    assert source.startswith('digraph "a \\"quoted\\" \\\\ title\\nof two lines" {')
    assert source.count("{") - source.count("c_{") == 1
    assert source.endswith("}\n")
