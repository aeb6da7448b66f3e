"""Searches that go back to before a rise of the eigenvalue: what they return, restarts, and interruptions."""

import copy
import dataclasses
import logging

import pytest
import torch

from darts_core.engine import search as engine
from darts_core.engine.rollback import Rollback
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from tests.unit.engine.test_search import Interrupted, assert_same, interrupt_at, run

RISING = {"window": 1, "lag": 1, "first_epoch": 2, "rise_limit": 1.5}


@pytest.fixture
def curvatures(monkeypatch):
    """Eigenvalues by the number of weight steps taken, of which each epoch has three: they rise after the third epoch."""
    values = {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 2.0, 6: 2.0}

    def curvature(supernet, batch):
        return values[int(supernet.stem.bn.num_batches_tracked) // 6]  # three of an epoch, and as many arch steps

    monkeypatch.setattr(engine, "_curvature", curvature)
    return values


def settings(**options):
    return METHODS.build("robust_darts", {**RISING, **options})


def search(images, method, **options):
    return run(images, method=method, **{"epochs": 6, "hessian_every": 1, **options})


def test_it_ends_at_a_rise_with_the_architecture_and_the_weights_before_it(images, curvatures):
    result = search(images, settings())
    assert len(result.history) == 4
    assert "risen from 1 to 2 on average since epoch 3" in result.stopped
    before = search(images, METHODS.build("darts"), epochs=6, log=None)  # the same steps, without the rule
    third = [row["weight"] for row in before.alphas if row["epoch"] == 3]
    assert [w for c in result.op_weights.values() for w in c.flatten().tolist()] == third
    assert result.supernet_state["stem.bn.num_batches_tracked"] == 18
    assert (result.chosen, result.valid_acc) == (2, before.history[2]["valid_acc"]), "accuracies are of the epoch that is taken"
    assert [row["weight"] for row in result.alphas if row["epoch"] == 3] == third


def test_without_a_rise_nothing_changes(images, curvatures):
    plain = search(images, METHODS.build("darts"), epochs=3)
    assert_same(search(images, settings(), epochs=3), plain)


@pytest.mark.parametrize(("adaptive", "epoch"), [(False, 4), (True, 4), (True, 5)])
def test_interrupted_it_ends_alike(images, curvatures, adaptive, epoch, tmp_path):
    method = settings(adaptive=adaptive, drop_path_prob=0.3)
    whole = search(images, method)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            search(images, method, log=interrupt_at(epoch), checkpoint=checkpoint)
        torch.rand(2)
        resumed = search(images, method, checkpoint=checkpoint)
    assert_same(resumed, whole)
    assert resumed.stopped == whole.stopped


def test_an_adaptive_search_goes_on_with_more_decay(images, curvatures):
    result = search(images, settings(adaptive=True))
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5, 6]
    assert [row["restarts"] for row in result.history] == [0, 0, 0, 1, 1, 1]
    assert [row["weight_decay"] for row in result.history] == pytest.approx([3e-4] * 3 + [3e-3] * 3)
    assert [row["epoch"] for row in result.costs] == [1, 2, 3, 4, 4, 5, 6], "an epoch that was given up has cost its time"
    assert [row["epoch"] for row in result.alphas][-1] == 6
    assert len(result.alphas) == 6 * 2 * 2 * 4
    assert result.stopped is None


def test_a_restart_has_the_optimisers_of_the_epoch_that_it_goes_back_to(images, curvatures, monkeypatch):
    before, after = {}, []
    note, restart = Rollback.note, Rollback.restart

    def noted(self, history):
        note(self, history)
        before[history[-1]["epoch"]] = copy.deepcopy(self._bilevel.state_dict())

    def restarted(self, history):
        epoch = restart(self, history)
        if epoch is not None:
            after.append((epoch, copy.deepcopy(self._bilevel.state_dict())))
        return epoch

    monkeypatch.setattr(Rollback, "note", noted)
    monkeypatch.setattr(Rollback, "restart", restarted)
    search(images, settings(adaptive=True))
    ((epoch, state),) = after
    momenta = ([p["momentum_buffer"] for p in each["weights"]["state"].values()] for each in (state, before[epoch], before[epoch + 1]))
    now, then, later = (torch.cat([x.flatten() for x in own]) for own in momenta)
    assert torch.equal(now, then)
    assert not torch.equal(now, later)


def test_the_method_measures_by_itself(images):
    assert ["hessian" in row for row in run(images, method=settings(), epochs=2).history] == [False, True]
    assert ["hessian" in row for row in run(images, method=settings(), epochs=2, hessian_every=1).history] == [True, True]


def test_a_search_too_short_to_show_a_rise_says_so(images, caplog):
    with caplog.at_level(logging.WARNING):
        run(images, method=METHODS.build("robust_darts"), epochs=1)
    assert "a rise of the eigenvalue shows in epoch 22 at the earliest, and search.epochs is 1" in caplog.text


def test_stronger_decay_is_that_of_the_optimiser(images):
    strong = run(images, method=dataclasses.replace(METHODS.build("darts"), weight_decay_factor=9.0), epochs=1)
    same = run(images, method=METHODS.build("darts"), epochs=1, weight_decay=9 * 3e-4)
    assert_same(strong, same)
