"""Searches that end early, that collapse, and whose curvature is logged."""

import dataclasses
import logging

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data import Batches, Cycle
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.spaces.darts_cnn import darts_cnn

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
SPACE = darts_cnn(init_channels=2, layers=3, nodes=1, primitives=PRIMITIVES)


class Interrupted(Exception):
    pass


def run(images, method, *, checkpoint=None, log=None, strong=None, **options):
    """``strong`` is an operation that every edge prefers by far from the start."""
    with seeded(0, "weights"):
        supernet = method.supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    if strong is not None:
        with torch.no_grad():
            for alpha in supernet.arch_parameters():
                alpha[:, PRIMITIVES.index(strong)] += 5.0
    batches = [Batches(images, 10, shuffle=True, generator=stream(0, name)) for name in ("weights", "alphas")]
    return search(
        supernet,
        method,
        space=SPACE,
        data=SearchData(batch_shape=(10, 1, 8, 8), train=batches[0], valid=Cycle(batches[1]), held_out=Batches(images, 10, shuffle=False)),
        cfg=SearchConfig(**{"epochs": 5, "batch_size": 10, "arch_lr": 1e-4, "backend": "reference", "memory": "normal", **options}),
        device=torch.device("cpu"),
        log=log or (lambda metrics, epoch: None),
        checkpoint=checkpoint,
    )


def test_darts_plus_ends_at_its_limit_of_skips(images, caplog):
    caplog.set_level(logging.INFO)
    result = run(images, METHODS.build("darts_plus"), strong="skip_connect")
    assert len(result.history) == 1
    assert result.history[0]["skips_normal"] == 2
    assert result.stopped == "the normal cell has 2 skip connections (method.skip_limit: 2)"
    assert "search: ended after epoch 1 of 5: the normal cell has 2 skip connections" in caplog.text
    assert [edge.op for _, edge in result.normal.edges] == ["skip_connect"] * 2


def test_a_warm_up_comes_ahead_of_any_stop(images):
    result = run(images, METHODS.build("darts_plus", {"warmup_epochs": 2}), strong="skip_connect")
    assert len(result.history) == 3


@pytest.mark.parametrize("name", ["darts", "gaea", "fair_darts"])
def test_a_stable_ranking_ends_any_method(images, name):
    result = run(images, METHODS.build(name, {"stable_epochs": 2}), arch_lr=1e-9)
    assert [row["stable_epochs"] for row in result.history] == [1, 2]
    assert result.history[-1]["stable_epochs"] == 2
    assert result.stopped == "the order of the operations has not changed for 2 epochs (method.stable_epochs)"


class Reversing(torch.optim.SGD):
    """Turns the order of the operations around: an odd number of steps, such as the 3 of an epoch, reverses it."""

    @torch.no_grad()
    def step(self, closure=None):
        for alpha in self.param_groups[0]["params"]:
            alpha.neg_()


def test_a_ranking_that_changes_goes_on(images):
    method = METHODS.build("darts", {"stable_epochs": 1})
    result = run(images, dataclasses.replace(method, arch_optimizer=lambda alphas, lr, weight_decay: Reversing(alphas, lr)))
    assert [row["stable_epochs"] for row in result.history] == [0] * 5
    assert result.stopped is None


def test_interrupted_at_its_end_it_trains_no_epoch_more(images, tmp_path):
    method = METHODS.build("darts_plus")

    def interrupt(metrics, epoch):
        raise Interrupted

    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, method, strong="skip_connect", checkpoint=checkpoint, log=interrupt)
        resumed = run(images, method, checkpoint=checkpoint, log=interrupt)
    whole = run(images, method, strong="skip_connect")
    assert resumed.history == whole.history
    assert resumed.stopped == whole.stopped
    assert resumed.genotype == whole.genotype


@pytest.mark.parametrize(("strong", "collapses"), [("skip_connect", True), ("max_pool_3x3", True), ("sep_conv_3x3", False)])
def test_a_collapse_is_warned_of_once(images, caplog, strong, collapses):
    result = run(images, METHODS.build("darts"), strong=strong)
    said = [record for record in caplog.records if record.levelno == logging.WARNING and "the search has collapsed" in record.message]
    assert len(said) == int(collapses)
    assert [row["collapsed"] for row in result.history] == [0, 0, *[int(collapses)] * 3]
    assert result.history[-1]["parameterless_normal"] == (1.0 if collapses else 0.0)


def test_the_curvature_is_logged_every_so_many_epochs_and_changes_nothing(images):
    plain, watched = run(images, METHODS.build("darts")), run(images, METHODS.build("darts"), hessian_every=2)
    values = [row.pop("hessian", None) for row in watched.history]
    assert [value is not None for value in values] == [False, True, False, True, False]
    assert watched.history == plain.history
    assert all(torch.equal(value, plain.supernet_state[key]) for key, value in watched.supernet_state.items())


def test_penalties_are_logged(images):
    rows = run(images, METHODS.build("beta_darts")).history
    assert [row["penalty"] > 0.0 for row in rows] == [False, True, True, True, True]
    assert "penalty" not in run(images, METHODS.build("darts"), epochs=1).history[0]
