"""The rule of RobustDARTS beside its definition, and what an adaptive restart may do."""

import pytest

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.curvature import AdaptiveDecay, CurvatureRise
from darts_core.search.method import check_warmup

RISE = CurvatureRise(limit=1.3, window=3, lag=2, first_epoch=4)


def rows(values, *, every=2, **others):
    """A row for each epoch; ``values`` are measured in every second one."""
    found = []
    for epoch in range(1, every * len(values) + 1):
        measured = {"hessian": values[epoch // every - 1]} if epoch % every == 0 else {}
        found.append({"epoch": epoch, "arch_loss": 1.0, **measured, **others})
    return found


@pytest.mark.parametrize(
    ("values", "epoch"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0], None),
        ([1.0, 1.0, 1.0, 1.3, 1.6], None),  # 1.3 on average: the limit itself is none
        ([1.0, 1.0, 1.0, 1.3, 1.7], 4),
        ([1.0, 1.0, 1.0, 1.7], None),  # too few
        ([-1.0, -1.0, -1.0, 1.0, 9.0], None),
        ([0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 2.0], 8),
    ],
)
def test_averages_are_compared(values, epoch):
    history = rows(values)
    assert RISE.epoch_before(history) == epoch
    assert (RISE(history) is None) is (epoch is None)
    assert RISE.epoch_before(rows([*values, 0.0])[:-1]) is None, "an epoch that is not measured says nothing"


def test_the_reason_names_both_averages_and_the_option():
    reason = "the dominant eigenvalue has risen from 1 to 2 on average since epoch 4 (method.rise_limit: 1.3)"
    assert RISE(rows([1.0, 1.0, 1.0, 1.0, 4.0])) == reason


def test_no_epoch_before_the_first_is_gone_back_to():
    values = [1.0, 1.0, 1.0, 2.0, 3.0]
    assert CurvatureRise(limit=1.3, window=3, lag=2, first_epoch=5).epoch_before(rows(values)) is None


def test_epochs_in_which_alpha_stands_still_and_those_before_a_restart_do_not_count():
    history = rows([1.0, 1.0, 1.0, 2.0, 3.0])
    assert RISE.epoch_before(history) == 4
    assert RISE.epoch_before([{k: v for k, v in row.items() if k != "arch_loss" or row["epoch"] > 2} for row in history]) is None
    assert RISE.epoch_before([{**row, "restarts": int(row["epoch"] > 2)} for row in history]) is None
    again = [*rows([5.0, 5.0], restarts=0), *({**row, "epoch": row["epoch"] + 4} for row in rows([1.0, 1.0, 1.0, 2.0, 3.0], restarts=1))]
    assert RISE.epoch_before(again) == 8


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("first_epoch", [1, 5, 10])
@pytest.mark.parametrize("warmup", [0, 3])
def test_the_earliest_epoch_is_the_first_that_shows_a_rise(every, first_epoch, warmup):
    rule = CurvatureRise(limit=1.3, window=3, lag=2, first_epoch=first_epoch)
    history = rows([2.0**n for n in range(20)], every=every)
    history = [row if row["epoch"] > warmup else {k: v for k, v in row.items() if k != "arch_loss"} for row in history]
    first = next(end for end in range(1, len(history)) if rule(history[:end]) is not None)
    assert rule.earliest(every, warmup) == first


def test_the_decay_rises_to_its_limit_and_no_further():
    decay, raised = 3e-4, []
    while AdaptiveDecay().can_raise(decay):
        decay *= AdaptiveDecay().factor
        raised.append(decay)
    assert raised == pytest.approx([3e-3, 3e-2])


@pytest.mark.parametrize(
    ("options", "search", "message"),
    [
        ({"adaptive": True}, {"weight_decay": 0.0}, r"method\.adaptive must be false where .* Got 0\."),
        ({"adaptive": True, "weight_decay_factor": 27.0}, {}, r"method\.adaptive must be false where .* more than 0\.003.* Got 0\.0081"),
        ({"weight_decay_factor": 3.0}, {"weight_decay": 0.0}, r"method\.weight_decay_factor must be 1 where search\.weight_decay is 0"),
    ],
)
def test_what_would_do_nothing_is_refused(options, search, message):
    with pytest.raises(ValueError, match=message):
        check_warmup(METHODS.build("robust_darts", options), SearchConfig(**search))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rise_limit": 1.0}, r"method\.rise_limit must be above 1\. Got 1\."),
        ({"window": 0}, r"method\.window must be at least 1\. Got 0\."),
        ({"lag": 0}, r"method\.lag must be at least 1\. Got 0\."),
        ({"first_epoch": 0}, r"method\.first_epoch must be at least 1\. Got 0\."),
        ({"drop_path_prob": 1.0}, r"method\.drop_path_prob must be at least 0 and below 1\. Got 1\."),
        ({"weight_decay_factor": -1.0}, r"method\.weight_decay_factor must be at least 0\. Got -1\."),
    ],
)
def test_options_have_ranges(options, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build("robust_darts", options)
