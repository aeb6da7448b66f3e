"""Searches that draw: resumed runs beside uninterrupted ones, bit for bit; temperatures; what random search takes."""

import dataclasses

import pytest

from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from tests.unit.engine.test_search import Interrupted, assert_same, interrupt_at, run

OPTIONS = {"random_search": {"samples": 5}, "proxyless": {"warmup_epochs": 1}}


@pytest.mark.parametrize("name", ["gdas", "proxyless", "random_search", "snas"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_sampled_search_that_is_interrupted_ends_like_an_uninterrupted_one(images, name, epoch, tmp_path):
    method = METHODS.build(name, OPTIONS.get(name, {}))
    whole = run(images, method=method)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, method=method, log=interrupt_at(epoch), checkpoint=checkpoint)
        assert_same(run(images, method=method, checkpoint=checkpoint), whole)


def test_the_temperature_of_each_epoch_is_logged(images):
    assert [row["temperature"] for row in run(images, method=METHODS.build("gdas")).history] == pytest.approx([10.0, 5.05, 0.1])


def test_random_search_takes_the_best_that_it_draws(images):
    """The accuracies of all that it drew are computed again, on a supernet of the same weights."""
    seen = []

    def select(supernet, space, *, evaluate, tune, generator):
        for genotype in [space.random_genotype(generator) for _ in range(6)]:
            with supernet.only(genotype):
                seen.append((genotype, evaluate()))
        return max(seen, key=lambda pair: pair[1])

    select.batches, select.by_loss, select.rule = 2, False, "best_of_random"
    method = METHODS.build("random_search", {"samples": 6, "score_batches": 2})
    result = run(images, method=method)
    other = run(images, method=dataclasses.replace(method, select=select))
    assert_same(result, other)
    best = max(seen, key=lambda pair: pair[1])[0]
    assert [sorted(map(str, edges)) for edges in result.normal.nodes] == [sorted(map(str, edges)) for edges in best.normal.nodes]
    assert len({score for _, score in seen}) > 1
    weights = [row["weight"] for row in result.alphas if row["cell"] == "normal"]
    assert weights == [0.25] * len(weights), "no operation is preferred"
    assert all(row["undecided"] for row in result.history)
    assert all("arch_loss" not in row for row in result.history)
