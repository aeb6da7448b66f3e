"""Random search with shared weights: each batch trains one random architecture of the space, and nothing else."""

import copy
from collections import Counter

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.metrics.cost import count_macs
from darts_core.search.derive import strongest_edges
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.footprint import estimate_peak_mib

SMALL = {"init_channels": 4, "layers": 3, "nodes": 3, "primitives": ("none", "sep_conv_3x3", "nor_conv_1x1")}


def build(space):
    torch.manual_seed(0)
    return METHODS.build("random_search").supernet(space, in_channels=3, num_classes=3, generator=torch.Generator().manual_seed(0))


def drawn(supernet, space):
    """The architecture of the next forward pass, as a genotype; whatever of it counts is computed."""
    paths = supernet.relax.together()
    for path in paths.values():
        for (active,), row, weight in zip(path.active, path.op_EO, path.edge_E):
            assert row.tolist() == [float(weight) if o == active else 0.0 for o in range(len(row))]
    kept = {cell_type: path.op_EO for cell_type, path in paths.items()}
    return strongest_edges(kept, primitives=supernet.primitives, shape=space.shape, space=space.name), paths


def test_a_weight_step_moves_the_weights_of_one_architecture_alone():
    space = SPACES.build("darts_cnn", SMALL)
    supernet = build(space).train()
    steps = Bilevel(supernet, METHODS.build("random_search"), SearchConfig(weight_decay=0.0))
    seen = set()
    for number in range(6):
        genotype, _ = drawn(copy.deepcopy(supernet), space)
        before = {name: p.detach().clone() for name, p in supernet.weights().items() if ".edges." in name}
        steps.w_optimizer.state.clear()
        generator = torch.Generator().manual_seed(number)
        steps.weight_step((torch.randn(6, 3, 8, 8, generator=generator), torch.arange(6) % 3), lr=0.1)
        moved = {tuple(name.split(".")[1:5]) for name, old in before.items() if not torch.equal(old, supernet.weights()[name])}
        for place, cell in enumerate(supernet.cells):
            own = genotype.cell("reduce" if cell.is_reduction else "normal")
            expected = {(space.shape.sources.index((edge.src, dst)), edge.op) for dst, edge in own.edges}
            assert {(int(edge), op) for layer, _, edge, op in moved if int(layer) == place} == expected
            assert all(len(edges) == 2 for edges in own.nodes)
        seen.add(str(genotype))
    assert len(seen) == 6
    assert not supernet.arch_parameters(), "there is nothing to learn of an architecture"


@pytest.mark.parametrize("name", sorted(SPACES.names()))
def test_in_every_space_it_draws_what_may_be_derived(name):
    space = SPACES.build(name)
    with torch.device("meta"):
        supernet = build(space)
    supernet = supernet.to_empty(device="cpu").train()
    for _ in range(5):
        genotype, paths = drawn(supernet, space)
        space.check(genotype)
        for cell_type, cell in genotype.cells.items():
            ends = {(edge.src, dst) for dst, edge in cell.edges}
            assert [bool(weight) for weight in paths[cell_type].edge_E] == [source in ends for source in space.shape.sources]
            offered = dict(zip(space.shape.sources, supernet.offers[cell_type].names))
            assert all(edge.op in offered[edge.src, dst] for dst, edge in cell.edges)
            assert space.shape.may_be_none or all(edge.op != "none" for _, edge in cell.edges)


def test_every_architecture_is_as_probable_as_any_other_and_evaluation_weighs_by_that():
    space = SPACES.build("darts_cnn", {**SMALL, "nodes": 2})
    supernet = build(space).train()
    draws = 3000
    counts, total = Counter(), torch.zeros(5, 3)
    for _ in range(draws):
        genotype, paths = drawn(supernet, space)
        counts[str(genotype.normal)] += 1
        total += paths["normal"].op_EO
    assert len(counts) == space.num_cells() == 48
    expected = draws / 48
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 90, "chi-squared of 47 degrees: 1 in 7,000"
    weights = supernet.eval().relax.together()["normal"]
    torch.testing.assert_close(weights.op_EO * weights.edge_E.unsqueeze(1), total / draws, atol=0.04, rtol=0.0)
    assert torch.equal(supernet.mixture()["normal"], torch.full((5, 3), 1 / 3)), "no operation is preferred"


def test_a_saved_state_draws_on_and_what_a_step_takes_is_known_ahead():
    space = SPACES.build("darts_cnn", SMALL)
    supernet = build(space).train()
    supernet.relax.together()
    state = supernet.state_dict()
    assert estimate_peak_mib(supernet, (8, 3, 8, 8)) > 0.0
    assert count_macs(supernet, input_shape=(3, 8, 8)) > 0
    expected = [str(drawn(supernet, space)[0]) for _ in range(3)]
    other = build(space).train()
    other.load_state_dict(state)
    assert [str(drawn(other, space)[0]) for _ in range(3)] == expected
