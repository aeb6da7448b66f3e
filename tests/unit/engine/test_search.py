"""The search loop; resumed runs beside an uninterrupted one, bit for bit."""

import dataclasses

import pytest
import torch
from torch import nn

from darts_core.config import SearchConfig
from darts_core.data import AugmentPolicy, Batches, Cycle
from darts_core.engine.loop import TrainingError
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.mixed import dense
from darts_core.supernet.supernet import Weights

SPACE = darts_cnn(init_channels=2, layers=3, nodes=1, primitives=("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"))
POLICY = AugmentPolicy(crop_padding=1, flip=True, cutout_length=2)
COST = {"epoch_s", "data_percent", "rss_mib"}


class Interrupted(Exception):
    pass


def run(images, *, order="first", epochs=3, log=None, checkpoint=None, train=None, method=None, **options):
    """Everything is built anew in each call, as a process that starts again would."""
    method = METHODS.build("darts", {"arch_gradient": order}) if method is None else method
    with seeded(0, "search weights"):
        supernet = method.supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    index = torch.arange(len(images))
    ours, theirs = images.subset(index[:14]), images.subset(index[14:])
    # 3 batches of the 14 images an epoch, and 4 of the other 16: an epoch ends in the midst of the cycle's permutation.
    for_weights = Batches(ours, 5, shuffle=True, policy=POLICY, generator=stream(0, "weight batches"))
    for_alphas = Batches(theirs, 4, shuffle=True, policy=POLICY, generator=stream(0, "alpha batches"))
    return search(
        supernet,
        method,
        space=SPACE,
        data=SearchData(
            batch_shape=(5, 1, 8, 8),
            train=for_weights if train is None else train,
            valid=Cycle(for_alphas),
            held_out=Batches(theirs, 4, shuffle=False),
        ),
        cfg=SearchConfig(**{"epochs": epochs, "batch_size": 5, "arch_lr": 0.05, "lr": 0.1, **options}),
        device=torch.device("cpu"),
        log=log or (lambda metrics, epoch: None),
        checkpoint=checkpoint,
    )


def without_costs(rows):
    return [{key: value for key, value in row.items() if key not in COST} for row in rows]


def assert_same(one, other):
    assert one.supernet_state.keys() == other.supernet_state.keys()
    for name, value in one.supernet_state.items():
        assert torch.equal(value, other.supernet_state[name]), name
    assert one.history == other.history
    assert one.alphas == other.alphas
    assert one.genotype == other.genotype
    assert all(torch.equal(one.op_weights[c], other.op_weights[c]) for c in one.op_weights)
    assert [row["epoch"] for row in one.costs] == [row["epoch"] for row in other.costs]


@pytest.fixture(scope="module")
def first_order(images):
    return run(images)


@pytest.fixture(scope="module")
def unrolled(images):
    return run(images, order="unrolled")


@pytest.fixture(params=["first", "unrolled"])
def order(request):
    return request.param


@pytest.fixture
def whole(order, first_order, unrolled):
    return {"first": first_order, "unrolled": unrolled}[order]


def interrupt_at(*epochs):
    """A log that fails at these epochs, each time once."""
    left = list(epochs)

    def log(metrics, epoch):
        if epoch in left:
            left.remove(epoch)
            raise Interrupted

    return log


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_interrupted_after_an_epoch_it_ends_like_an_uninterrupted_run(images, order, whole, epoch, tmp_path):
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, order=order, log=interrupt_at(epoch), checkpoint=checkpoint)
        seen = []
        torch.rand(epoch)  # the default generator is elsewhere by then
        assert_same(run(images, order=order, log=lambda metrics, epoch: seen.append(epoch), checkpoint=checkpoint), whole)
    assert seen == list(range(epoch + 1, 4)), "no epoch is trained twice"


class Failing:
    """Batches that fail at step ``at`` of the whole run."""

    def __init__(self, batches, at):
        self.batches, self.left = batches, at

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            if self.left == 0:
                raise Interrupted
            self.left -= 1
            yield batch

    def state_dict(self):
        return self.batches.state_dict()

    def load_state_dict(self, state):
        self.batches.load_state_dict(state)


@pytest.mark.parametrize("step", [2, 5])
def test_interrupted_within_an_epoch_it_starts_that_epoch_again(images, first_order, step, tmp_path):
    batches = Batches(images.subset(torch.arange(14)), 5, shuffle=True, policy=POLICY, generator=stream(0, "weight batches"))
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, train=Failing(batches, step), checkpoint=checkpoint)
        assert_same(run(images, checkpoint=checkpoint), first_order)


def test_interrupted_again_and_again(images, first_order, tmp_path):
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        log = interrupt_at(1, 2, 3)
        for _ in range(3):
            with pytest.raises(Interrupted):
                run(images, log=log, checkpoint=checkpoint)
        assert_same(run(images, log=log, checkpoint=checkpoint), first_order)


def test_a_checkpoint_changes_no_result(images, first_order, tmp_path):
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        assert_same(run(images, checkpoint=checkpoint), first_order)


def test_what_is_kept_of_each_epoch(images):
    logged = []
    result = run(images, epochs=2, lr=0.1, lr_min=0.02, log=lambda metrics, epoch: logged.append((epoch, dict(metrics))))
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert [row["lr"] for row in result.history] == [0.1, pytest.approx(0.06)]
    assert result.train_acc == result.history[-1]["train_acc"]
    assert result.valid_acc == result.history[-1]["valid_acc"]
    assert 0.0 <= result.valid_acc <= 100.0
    assert [epoch for epoch, _ in logged] == [1, 2]
    for (_, metrics), row, cost in zip(logged, result.history, result.costs):
        assert metrics == {key: value for key, value in {**row, **cost}.items() if key != "epoch"}
        assert cost["epoch_s"] > 0.0
        assert 0.0 < cost["data_percent"] < 100.0
        assert not COST & set(row), "seconds and memory stay out of the history, which is deterministic"
    assert len(result.alphas) == 2 * 2 * 2 * 4
    assert result.normal is result.genotype.normal
    assert result.reduce is result.genotype.reduce


def test_the_genotype_is_that_of_the_last_mixture(images):
    result = run(images, epochs=1)
    alphas = {cell: result.supernet_state[f"arch.{cell}"] for cell in ("normal", "reduce")}
    for cell, alpha in alphas.items():
        torch.testing.assert_close(result.op_weights[cell], alpha.softmax(-1))
    last = [row for row in result.alphas if row["epoch"] == 1 and row["cell"] == "normal" and row["edge"] == "0-2"]
    assert [row["weight"] for row in last] == result.op_weights["normal"][0].tolist()


def test_it_learns(images):
    result = run(images, epochs=8)
    assert result.history[-1]["train_loss"] < 0.7 * result.history[0]["train_loss"]
    assert result.train_acc > 60.0


def test_every_gradient_of_the_alphas_has_a_result_of_its_own(images):
    states = {order: run(images, order=order, epochs=1).supernet_state["arch.normal"] for order in ("first", "unrolled", "exact")}
    assert not torch.equal(states["first"], states["unrolled"])
    assert not torch.equal(states["unrolled"], states["exact"])


def test_a_diverging_run_says_which_key_to_change_and_saves_no_state(images, tmp_path):
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(TrainingError, match=r"The loss of epoch 1 is nan: the training diverged. Lower search.lr or search.arch_lr"):
            run(images, lr=1e30, grad_clip=0.0, checkpoint=checkpoint)
        assert checkpoint.load("search") is None


class Empty:
    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())


def test_no_training_batch_is_an_error(images):
    with pytest.raises(TrainingError, match="The training loader has no batch"):
        run(images, train=Empty())


def test_loaders_without_a_state_are_trained_on_too(images):
    """Those of a caller of search_architecture."""
    batches = list(Batches(images, 10, shuffle=False))
    assert run(images, epochs=1, train=batches).history[0]["train_loss"] > 0.0
    assert not SearchData(batch_shape=(4, 1, 8, 8), train=batches, valid=iter(batches), held_out=batches).streams()


def test_the_engine_knows_no_method_by_name(images):
    """An operation weight that is no softmax, spent by another function: any parts fit."""

    class Gates(nn.Module):
        def forward(self, alpha_EO):
            return Weights(op_EO=alpha_EO.sigmoid())

    def half(edge, source, weight_O):
        return dense(edge, source, 0.5 * weight_O)

    method = dataclasses.replace(METHODS.build("darts"), relax=Gates().forward, mixed=half)
    supernet = method.supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    batches = Batches(images, 10, shuffle=True, generator=stream(0, "x"))
    data = SearchData(batch_shape=(4, 1, 8, 8), train=batches, valid=Cycle(batches), held_out=batches)
    result = search(supernet, method, space=SPACE, data=data, cfg=SearchConfig(epochs=1), device=torch.device("cpu"))
    assert result.op_weights["normal"].sum(1).max() > 1.5


def test_alpha_stands_still_in_a_warm_up(images):
    method = METHODS.build("pc_darts", {"channel_proportion": 2, "warmup_epochs": 2})
    result = run(images, method=method)
    assert ["arch_loss" in row for row in result.history] == [False, False, True]
    weights = [[row["weight"] for row in result.alphas if row["epoch"] == epoch] for epoch in (1, 2, 3)]
    assert weights[0] == weights[1] != weights[2]
    edges = [[row[f"edge_{cell}/{edge}"] for cell in ("normal", "reduce") for edge in SPACE.edge_names] for row in result.history]
    assert edges[0] == edges[1] != edges[2]
    assert edges[2] == [weight for cell in ("normal", "reduce") for weight in result.edge_weights[cell].tolist()]


def test_weights_move_in_a_warm_up_and_it_can_be_interrupted(images, tmp_path):
    method = METHODS.build("pc_darts", {"channel_proportion": 2, "warmup_epochs": 2})
    states = []
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        for epoch in (1, 2):
            with pytest.raises(Interrupted):
                run(images, method=method, log=interrupt_at(epoch), checkpoint=checkpoint)
            states.append(checkpoint.load("search")["supernet"])
        assert_same(run(images, method=method, checkpoint=checkpoint), run(images, method=method))
    weights, alphas = "cells.0.preprocess0.conv.weight", "arch.normal_edges"
    assert not torch.equal(states[0][weights], states[1][weights])
    assert torch.equal(states[0][alphas], states[1][alphas])


def test_a_warm_up_as_long_as_the_search_is_refused(images):
    message = r"search\.epochs must be more than method\.warmup_epochs, 3, in which alpha stands still: raise it, .* Got 3\."
    with pytest.raises(ValueError, match=message):
        run(images, method=METHODS.build("pc_darts", {"channel_proportion": 2, "warmup_epochs": 3}))
