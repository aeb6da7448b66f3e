"""The collapse watch on histories made by hand."""

import pytest
import torch

from darts_core.engine.watch import (
    cell_metrics,
    collapse_warning,
    has_chosen,
    has_parameters,
    is_bare,
    ranking,
    selection_warning,
    stable_epochs,
)
from darts_core.genotype import published, published_names
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.spaces.nasbench201 import from_string

USABLE = [1, 2, 3]  # of four, of which the first is none


def rows(*shares, warmup=0):
    return [
        {"epoch": epoch, "parameterless_normal": share, "skips_normal": 5, **({"arch_loss": 1.0} if epoch > warmup else {})}
        for epoch, share in enumerate(shares, start=1)
    ]


def test_pools_skips_and_nothing_have_no_parameters():
    names = ["none", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_5x5"]
    assert [has_parameters(name) for name in names] == [False] * 4 + [True] * 2


def test_a_published_cell_is_counted():
    assert cell_metrics(published("DARTS_V2"), darts_cnn()) == {
        "parameterless_normal": 2 / 8,
        "skips_normal": 2,
        "parameterless_reduce": 1.0,
        "skips_reduce": 3,
    }


def test_no_published_cell_counts_as_collapsed():
    assert all(not is_bare(rows(*[cell_metrics(published(name), darts_cnn())["parameterless_normal"]] * 3)) for name in published_names())


@pytest.mark.parametrize(
    ("shares", "warmup", "collapsed"),
    [
        ((0.9, 0.9), 0, False),
        ((0.75, 1.0, 0.75), 0, True),
        ((1.0, 0.7, 1.0), 0, False),
        ((0.0, 1.0, 1.0, 1.0), 0, True),
        ((1.0, 1.0, 1.0, 0.0), 0, False),
        ((1.0, 1.0, 1.0), 1, False),
        ((1.0, 1.0, 1.0, 1.0), 1, True),
    ],
)
def test_a_collapse_lasts_for_three_epochs_in_which_alpha_moves(shares, warmup, collapsed):
    assert is_bare(rows(*shares, warmup=warmup)) is collapsed


def test_the_warning_comes_once():
    history = [{**row, "collapsed": int(row["epoch"] in (3, 4, 8))} for row in rows(1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0)]
    warned = [end for end in range(1, len(history) + 1) if collapse_warning(history[:end], is_last=end == len(history)) is not None]
    assert warned == [3]
    said = collapse_warning(history[:3], is_last=False)
    assert said.startswith("the search has collapsed: for 3 epochs at least 75% of the derived normal cell's operations")
    assert "(in epoch 3: 100%, 5 skip connections)" in said


@pytest.mark.parametrize(("shares", "is_chance"), [((1.0, 1.0, 1.0), True), ((1.0, 1.0, 0.5), False)])
def test_a_bare_cell_of_an_even_alpha_is_called_chance_at_the_end(shares, is_chance):
    history = [{**row, "collapsed": 0} for row in rows(*shares)]
    assert collapse_warning(history, is_last=False) is None
    said = collapse_warning(history, is_last=True)
    assert (said is not None) is is_chance
    assert not is_chance or said.startswith("alpha has hardly moved")


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        ([[0.25] * 4], False),
        ([[0.3, 0.25, 0.25, 0.2]], False),
        ([[0.5, 0.2, 0.2, 0.1]], True),
        ([[0.5, 0.5, 0.0, 0.0]], False),  # two are no longer computed, and the others even
        ([[1.0, 0.0, 0.0, 0.0]], True),
        ([[0.5] * 4], False),  # gates
        ([[0.52, 0.49, 0.5, 0.51]], False),
        ([[0.97] * 4], True),
        ([[0.02] * 4], True),
    ],
)
def test_an_alpha_that_has_hardly_moved_has_chosen_nothing(weights, chosen):
    assert has_chosen({"normal": torch.tensor(weights), "reduce": torch.tensor([[0.9, 0.1]])}) is chosen


def test_the_ranking_leaves_none_out():
    strong_none, weak_none = torch.tensor([[0.7, 0.1, 0.05, 0.15]]), torch.tensor([[0.01, 0.3, 0.2, 0.49]])
    assert torch.equal(*(ranking({"normal": weights}, USABLE) for weights in (strong_none, weak_none)))
    assert ranking({"normal": strong_none, "reduce": strong_none}, USABLE).tolist() == [[2, 0, 1]] * 2


def test_stable_epochs_count_from_the_last_change():
    one, other = torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    assert stable_epochs([], one, one, is_still=False) == 1
    assert stable_epochs([{"stable_epochs": 4}], one, one, is_still=False) == 5
    assert stable_epochs([{"stable_epochs": 4}], one, other, is_still=False) == 0
    assert stable_epochs([{"stable_epochs": 0}], one, one, is_still=True) == 0


def test_a_bare_cell_that_a_selection_chose_is_warned_of():
    space = SPACES.build("nasbench201", {})
    skips, mixed = (
        from_string(f"|{a}~0|+|{a}~0|{b}~1|+|{a}~0|{b}~1|{b}~2|") for a, b in (("skip_connect",) * 2, ("skip_connect", "nor_conv_3x3"))
    )
    assert selection_warning(skips, space).startswith(
        "100% of the operations of the normal cell that was chosen have no parameters (6 skip"
    )
    assert selection_warning(mixed, space) is None
