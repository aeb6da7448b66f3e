"""Selections that tune: interrupted in the midst of it, what alpha does meanwhile, what it costs."""

import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F

from darts_core.data import Batches
from darts_core.engine import selection
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.supernet.recompute import BatchNormsStandStill
from tests.unit.engine.test_search import Interrupted, assert_same, interrupt_at, run


class StoppedAt:
    """A selection that is killed before its ``turn``-th tuning epoch."""

    def __init__(self, select, turn):
        self.select, self.turn, self.batches, self.by_loss = select, turn, select.batches, select.by_loss

    def __call__(self, supernet, space, *, evaluate, tune, generator):
        def until(epoch, epochs):
            if epoch == self.turn:
                raise Interrupted
            tune(epoch, epochs)

        return self.select(supernet, space, evaluate=evaluate, tune=until, generator=generator)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("darts_pt", {"tune_epochs": 1}),
        ("darts_pt", {"tune_epochs": 1, "fixed_alpha": True, "score_batches": 2}),
        ("gdas", {"selection": "perturbation", "tune_epochs": 1}),
        ("smooth_darts", {"selection": "perturbation", "tune_epochs": 1}),
    ],
    ids=["darts_pt", "fixed", "gdas", "smooth_darts"],
)
def test_interrupted_before_or_while_it_selects_it_ends_alike(images, name, options, tmp_path):
    method = METHODS.build(name, options)
    whole = run(images, method=method, epochs=2)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, method=method, epochs=2, log=interrupt_at(1), checkpoint=checkpoint)
        with pytest.raises(Interrupted):
            run(images, method=dataclasses.replace(method, select=StoppedAt(method.select, 0)), epochs=2, checkpoint=checkpoint)
        resumed = run(images, method=method, epochs=2, checkpoint=checkpoint)
    assert_same(resumed, whole)
    assert len(whole.history) == 2
    assert whole.selection["epoch_s"] > 0.0
    assert all(set(weights.flatten().tolist()) == {0.0, 1.0} for weights in whole.op_weights.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("darts_pt", {"tune_epochs": 1}),
        ("darts_pt", {"tune_epochs": 2, "fixed_alpha": True, "score_batches": 2}),
        ("gdas", {"selection": "perturbation", "tune_epochs": 1}),
        ("smooth_darts", {"selection": "perturbation", "tune_epochs": 1}),
        ("snas", {"resource": "macs", "selection": "perturbation", "tune_epochs": 2}),
        ("enas", {"hidden_units": 6, "samples": 8, "score_batches": 2}),
        ("random_search", {"samples": 8, "score_batches": 2}),
    ],
    ids=["darts_pt", "fixed", "gdas", "smooth_darts", "snas", "enas", "random_search"],
)
def test_killed_in_the_midst_of_it_and_again_nothing_is_computed_twice(images, name, options, computed, tmp_path):
    method = METHODS.build(name, options)
    whole = run(images, method=method, epochs=1)
    parts = list(computed)
    assert len(parts) > 4
    tunings = [number + 1 for number, part in enumerate(parts) if part == "train_epoch"]
    computed.clear()
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        for number in sorted({1, 2, len(parts) // 2, len(parts) - 1, *tunings[:1], *tunings[-1:]}):
            computed.killed_after = number
            with pytest.raises(computed.Killed):
                run(images, method=method, epochs=1, checkpoint=checkpoint)
            assert computed == parts[:number]
        computed.killed_after = None
        assert_same(run(images, method=method, epochs=1, checkpoint=checkpoint), whole)
        assert computed == parts
        run(images, method=method, epochs=1, checkpoint=checkpoint)
        assert computed == parts, "killed after it ended, before its outputs were written"


def test_the_seconds_of_what_was_killed_count_and_a_new_search_selects_anew(images, computed, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(selection.time, "perf_counter", lambda: clock[0])
    quality = selection.mean_quality
    monkeypatch.setattr(selection, "mean_quality", lambda *args: clock.__setitem__(0, clock[0] + 10.0) or quality(*args))
    method = METHODS.build("random_search", {"samples": 8, "score_batches": 2})
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        computed.killed_after = 2
        with pytest.raises(computed.Killed):
            run(images, method=method, epochs=1, checkpoint=checkpoint)
        computed.killed_after, before = None, clock[0]
        seconds = run(images, method=method, epochs=1, checkpoint=checkpoint).selection["epoch_s"]
        assert seconds == pytest.approx(20.0 + clock[0] - before)
        done = len(computed)
        checkpoint.discard("search")
        run(images, method=method, epochs=1, checkpoint=checkpoint)
        assert len(computed) == 2 * done


def test_alpha_moves_while_it_tunes_unless_it_is_fixed(images):
    for fixed in (True, False):
        result = run(images, method=METHODS.build("darts_pt", {"tune_epochs": 1, "fixed_alpha": fixed}), epochs=1)
        searched = {c: [row["weight"] for row in result.alphas if row["cell"] == c] for c in ("normal", "reduce")}
        tuned = {c: result.supernet_state[f"arch.{c}"].softmax(-1).flatten().tolist() for c in ("normal", "reduce")}
        assert (searched == tuned) is fixed
        assert ("arch_loss" in result.history[0]) is not fixed


@pytest.mark.parametrize("score_by", ["accuracy", "loss"])
def test_it_is_judged_by_accuracy_or_by_loss(images, monkeypatch, caplog, score_by):
    found, quality = [], selection.mean_quality

    def note(supernet, batches):
        kept = list(batches)
        supernet.train()
        with torch.no_grad(), BatchNormsStandStill(supernet):
            logits, labels = torch.cat([supernet(x) for x, _ in kept]), torch.cat([y for _, y in kept])
        expected = -F.cross_entropy(logits, labels) if score_by == "loss" else 100.0 * (logits.argmax(1) == labels).double().mean()
        found.append((quality(supernet, kept), expected.item()))
        return found[-1][0]

    monkeypatch.setattr(selection, "mean_quality", note)
    with caplog.at_level(logging.INFO):
        run(images, method=METHODS.build("darts_pt", {"tune_epochs": 0, "score_by": score_by}), epochs=1)
    told, expected = zip(*found)
    assert told == pytest.approx(expected)
    assert len(set(told)) > 2
    last = f"a loss of {-told[-1]:.4f}" if score_by == "loss" else f"{told[-1]:.2f} %"
    assert f"the chosen architecture has {last} on everything held out" in caplog.text


def test_more_batches_than_are_held_out_are_those(images):
    every, too_many = (run(images, method=METHODS.build("random_search", {"samples": 6, "score_batches": n}), epochs=1) for n in (4, 10**9))
    assert_same(too_many, every)


def test_the_auxiliary_skip_is_gone_where_architectures_are_judged(images, monkeypatch):
    weights, quality = [], selection.mean_quality

    def note_quality(supernet, batches):
        weights.append(float(supernet.auxiliary_weight))
        return quality(supernet, batches)

    monkeypatch.setattr(selection, "mean_quality", note_quality)
    run(images, method=METHODS.build("darts_minus", {"selection": "perturbation", "tune_epochs": 0}), epochs=2)
    assert set(weights) == {0.0}


def test_no_selection_costs_nothing(images):
    assert run(images, epochs=1).selection is None


def test_tuning_moves_the_weights_of_what_is_left(images):
    runs = [run(images, method=METHODS.build("darts_pt", {"tune_epochs": n}), epochs=1).supernet_state for n in (0, 2)]
    assert not torch.equal(*(state["classifier.weight"] for state in runs))


def test_it_is_judged_by_everything_held_out_and_tuned_on_the_images_of_the_weights(images, monkeypatch):
    judged, tuned, rates = [], [], []
    quality, train_epoch = selection.mean_quality, selection.train_epoch

    def note_quality(supernet, batches):
        kept = list(batches)
        judged.append(torch.cat([x.flatten(1) for x, _ in kept]))
        return quality(supernet, kept)

    def note_epoch(bilevel, batches, valid, lr, *, is_still):
        rates.append(lr)
        tuned.append(kept := list(batches))
        return train_epoch(bilevel, kept, valid, lr, is_still=is_still)

    monkeypatch.setattr(selection, "mean_quality", note_quality)
    monkeypatch.setattr(selection, "train_epoch", note_epoch)
    run(images, method=METHODS.build("darts_pt", {"tune_epochs": 2}), epochs=1)
    held_out = torch.cat([x.flatten(1) for x, _ in Batches(images.subset(torch.arange(14, 30)), 4, shuffle=False)])
    assert judged
    assert all(torch.equal(seen, held_out) for seen in judged)
    assert [sum(len(labels) for _, labels in epoch) for epoch in tuned] == [14] * len(tuned)
    assert rates[0] == pytest.approx(0.1 * 0.1), "a tenth of search.lr, falling to search.lr_min at most"
    assert 0.001 <= rates[1] < rates[0]
