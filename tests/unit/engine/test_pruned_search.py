"""Searches that stop computing light operations: more and more of them, and alike after an interruption."""

import pytest

from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from tests.unit.engine.test_search import Interrupted, assert_same, interrupt_at, run


@pytest.mark.parametrize("order", ["unrolled", "exact"])
def test_the_second_order_does_without_what_is_not_computed(images, order):
    method = METHODS.build("darts", {"arch_gradient": order, "prune_below": 0.2, "selection": "perturbation", "tune_epochs": 1})
    result = run(images, method=method, epochs=2, arch_lr=0.5)
    assert result.history[-1]["pruned"] > 0.0
    assert result.genotype.rule == "perturbation"


@pytest.mark.parametrize("options", [{}, {"selection": "perturbation", "tune_epochs": 1}], ids=["darts", "perturbation"])
def test_a_search_prunes_and_resumes_alike(images, options, tmp_path):
    method = METHODS.build("darts", {"prune_below": 0.2, **options})
    settings = {"method": method, "epochs": 4, "arch_lr": 0.3}
    whole = run(images, **settings)
    shares = [row["pruned"] for row in whole.history]
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < shares[-1]
    last = [row["weight"] for row in whole.alphas if row["epoch"] == 4]
    assert sum(weight == 0.0 for weight in last) == shares[-1] * len(last)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, log=interrupt_at(2), checkpoint=checkpoint, **settings)
        assert_same(run(images, checkpoint=checkpoint, **settings), whole)
