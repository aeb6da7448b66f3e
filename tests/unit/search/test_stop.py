import pytest

from darts_core.search.stop import SkipLimit, StableRanking, why_stop


def rows(skips=(), stable=(), warmup=0):
    count = max(len(skips), len(stable))
    columns = zip(skips or [0] * count, stable or [0] * count)
    return [
        {"skips_normal": skip, "stable_epochs": epochs, **({"arch_loss": 1.0} if number >= warmup else {})}
        for number, (skip, epochs) in enumerate(columns)
    ]


@pytest.mark.parametrize(("skips", "ends"), [((), False), ((0, 1), False), ((0, 2), True), ((3, 1), False), ((1, 3), True)])
def test_skips_are_counted_in_the_last_epoch(skips, ends):
    assert (SkipLimit(2)(rows(skips)) is not None) == ends


def test_skips_of_a_warm_up_do_not_count():
    assert SkipLimit(2)(rows((5, 5), warmup=2)) is None


def test_the_skips_of_an_even_choice_are_chance():
    history = [{**row, "undecided": 1} for row in rows((5, 5))]
    assert SkipLimit(2)(history) is None
    assert SkipLimit(2)([*history, {**history[-1], "undecided": 0}]) is not None


@pytest.mark.parametrize(("stable", "ends"), [((), False), ((0, 1, 2), False), ((1, 2, 3), True), ((3, 0), False)])
def test_a_ranking_must_have_stood_for_so_many_epochs(stable, ends):
    assert (StableRanking(3)(rows(stable=stable)) is not None) == ends


def test_any_rule_ends_the_search_and_says_which():
    history = rows(skips=(4,), stable=(7,))
    assert why_stop((), history) is None
    reasons = [why_stop((SkipLimit(limit), StableRanking(7)), history) for limit in (5, 3)]
    assert reasons == [
        "the order of the operations has not changed for 7 epochs (method.stable_epochs)",
        "the normal cell has 4 skip connections (method.skip_limit: 3)",
    ]
