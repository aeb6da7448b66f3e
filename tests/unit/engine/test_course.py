"""Searches in phases: what each begins with, and resumed runs beside an uninterrupted one, bit for bit."""

import dataclasses

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data import Batches, Cycle
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.search.phases import Phase
from darts_core.spaces import SPACES

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
P_DARTS = {"add_layers": (0, 0, 1), "kept_operations": (3, 2), "warmup_epochs": 1, "skip_dropout": (0.0, 0.4, 0.7)}
DRNAS = {"progressive": True, "channel_proportions": (4, 2), "warmup_epochs": 1}
CASES = {"p_darts": (P_DARTS, 6), "drnas": (DRNAS, 4)}


class Interrupted(Exception):
    pass


def run(images, method, *, epochs, space="darts_cnn", checkpoint=None, fail_at=None, supernets=None, **options):
    built = SPACES.build(
        space, {"init_channels": 4, "layers": 3, "nodes": 2, **({} if space != "darts_cnn" else {"primitives": PRIMITIVES})}
    )
    method = METHODS.build(*method) if isinstance(method, tuple) else method
    with seeded(0, "weights"):
        supernet = method.supernet(built, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    ours, theirs = images.subset(torch.arange(10)), images.subset(torch.arange(10, 20))

    def log(metrics, epoch):
        if epoch == fail_at:
            raise Interrupted

    return search(
        supernet,
        method,
        space=built,
        data=SearchData(
            batch_shape=(5, 1, 8, 8),
            train=Batches(ours, 5, shuffle=True, generator=stream(0, "weight batches")),
            valid=Cycle(Batches(theirs, 5, shuffle=True, generator=stream(0, "alpha batches"))),
            held_out=Batches(theirs, 5, shuffle=False),
        ),
        cfg=SearchConfig(
            **{"epochs": epochs, "batch_size": 5, "arch_lr": 0.05, "lr": 0.1, "backend": "eager", "memory": "normal", **options}
        ),
        device=torch.device("cpu"),
        log=log,
        checkpoint=checkpoint,
        generator=stream(0, "perturbation"),
    )


@pytest.fixture(scope="module")
def whole(images):
    return {name: run(images, (name, options), epochs=epochs) for name, (options, epochs) in CASES.items()}


def offered(result, epoch):
    """How many operations have a weight on each edge after ``epoch``."""
    rows = [row for row in result.alphas if row["epoch"] == epoch]
    edges = {(row["cell"], row["edge"]) for row in rows}
    return {sum(row["weight"] > 0 for row in rows if (row["cell"], row["edge"]) == edge) for edge in edges}


def test_p_darts_prunes_deepens_and_starts_anew(whole):
    result = whole["p_darts"]
    assert [row["phase"] for row in result.history] == [1, 1, 2, 2, 3, 3]
    assert [offered(result, epoch) for epoch in (2, 3, 6)] == [{4}, {3}, {2}]
    assert [row["lr"] for row in result.history] == [pytest.approx(rate) for rate in [0.1, 0.0505] * 3], "a cosine a phase"
    assert ["arch_loss" in row for row in result.history] == [False, True] * 3
    assert len({name.split(".")[1] for name in result.supernet_state if name.startswith("cells.")}) == 4
    assert {len(row) for row in result.supernet_state["arch.normal"]} == {2}
    assert "at most 2 skip connections" in result.genotype.rule


def test_drnas_keeps_half_and_widens(whole):
    result = whole["drnas"]
    assert [offered(result, epoch) for epoch in (2, 4)] == [{4}, {2}]
    assert [row["lr"] for row in result.history] == pytest.approx([0.1, 0.0855, 0.0505, 0.0155], abs=1e-4), "one cosine"
    kept = [name for name in result.supernet_state if name.startswith("cells.0.edges.") and name.endswith("pw1.weight")]
    assert all(result.supernet_state[name].shape[:2] == (2, 2) for name in kept)


@pytest.mark.parametrize(("name", "epoch"), [("p_darts", 2), ("p_darts", 5), ("drnas", 1), ("drnas", 2), ("drnas", 3)])
def test_interrupted_in_any_phase_it_ends_like_an_uninterrupted_run(images, whole, name, epoch, tmp_path):
    options, epochs = CASES[name]
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, (name, options), epochs=epochs, checkpoint=checkpoint, fail_at=epoch)
        torch.rand(epoch)  # the default generator is elsewhere by then
        resumed = run(images, (name, options), epochs=epochs, checkpoint=checkpoint)
    assert resumed.history == whole[name].history
    assert resumed.alphas == whole[name].alphas
    assert resumed.genotype == whole[name].genotype
    assert resumed.computed == whole[name].computed
    assert resumed.supernet_state.keys() == whole[name].supernet_state.keys()
    assert all(torch.equal(value, resumed.supernet_state[key]) for key, value in whole[name].supernet_state.items())


def test_p_darts_on_nasbench201(images):
    options = {"add_layers": (0, 0, 3), "kept_operations": (5, 2), "warmup_epochs": 0, "skip_limit": 0}
    result = run(images, ("p_darts", options), epochs=3, space="nasbench201")
    assert [offered(result, epoch) for epoch in (1, 2, 3)] == [{5}, {5}, {2}]
    assert sum(edge.op == "skip_connect" for _, edge in result.normal.edges) == 0
    with pytest.raises(ValueError, match=r"method\.kept_operations: 1 to 5 expected for phase 2, as many as an edge still has\. Got 6\."):
        run(images, ("p_darts", {**options, "kept_operations": (6, 2)}), epochs=3, space="nasbench201")
    with pytest.raises(ValueError, match=r"method\.add_layers: phase 3 has 4 cells\. space\.layers must be a multiple of 3"):
        run(images, ("p_darts", {**options, "add_layers": (0, 0, 1)}), epochs=3, space="nasbench201")


def test_phases_shorter_than_the_warm_up_are_refused(images):
    with pytest.raises(ValueError, match=r"method\.warmup_epochs, 1, .* each of 3 phases \(the shortest has 1 epochs\).* Got 5\."):
        run(images, ("p_darts", P_DARTS), epochs=5)


def test_a_search_is_stopped_in_its_last_phase_alone(images):
    method = dataclasses.replace(METHODS.build("darts"), phases=(Phase(), Phase()), stop=(lambda history: "at once" if history else None,))
    result = run(images, method, epochs=6)
    assert [row["phase"] for row in result.history] == [1, 1, 1, 2]
    assert result.stopped == "at once"


def test_a_phase_that_changes_nothing_changes_nothing(images):
    one = METHODS.build("darts")
    two = dataclasses.replace(one, phases=(Phase(), Phase()))
    first, second = (run(images, method, epochs=4) for method in (one, two))
    assert [{k: v for k, v in row.items() if k != "phase"} for row in second.history] == first.history
    assert all(torch.equal(value, second.supernet_state[key]) for key, value in first.supernet_state.items())


def test_a_ranking_counts_as_stable_from_the_start_of_its_phase(images):
    method = dataclasses.replace(METHODS.build("darts"), phases=(Phase(), Phase()))
    rows = run(images, method, epochs=6, arch_lr=1e-12).history
    assert [row["phase"] for row in rows] == [1, 1, 1, 2, 2, 2]
    assert [row["stable_epochs"] for row in rows] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(("first", "later"), [("reference", "eager"), ("eager", "reference")])
def test_a_search_goes_on_by_another_backend_and_both_are_named(images, first, later, tmp_path, caplog):
    caplog.set_level("INFO")
    whole = run(images, ("darts", {}), epochs=4, backend=first)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, ("darts", {}), epochs=4, checkpoint=checkpoint, fail_at=2, backend=first)
        resumed = run(images, ("darts", {}), epochs=4, checkpoint=checkpoint, backend=later)
        assert f"search: goes on with what backend {first} computed." in caplog.text
        again = run(images, ("darts", {}), epochs=4, checkpoint=checkpoint, backend=first)
    assert resumed.computed == {"backend": f"{first} then {later}", "memory": "normal"}
    assert resumed.history[0] == whole.history[0]
    for name, value in whole.supernet_state.items():
        torch.testing.assert_close(resumed.supernet_state[name], value, rtol=1e-2, atol=1e-3, msg=name)
    assert f"search: is over; the result is what backend {later} computed." in caplog.text
    assert again.computed == resumed.computed
    assert again.history == resumed.history
