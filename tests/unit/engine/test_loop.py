import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.data import Batches, Cycle
from darts_core.engine.loop import EpochCost, Stateful, TrainingError, assess, memory_advice, require_finite, to_device

CPU = torch.device("cpu")


def test_assess_is_the_mean_over_images_not_over_batches():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    x, y = torch.randn(11, 1, 2, 2), torch.randint(3, (11,))
    loss, accuracy = assess(network.train(), zip(x.split(4), y.split(4)))
    network.eval()
    logits = network(x)
    assert loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert accuracy == pytest.approx(100.0 * (logits.argmax(1) == y).double().mean().item())


def test_assess_leaves_the_network_in_training_mode_and_its_statistics_alone():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assess(network, [(torch.randn(3, 2, 2, 2), torch.zeros(3, dtype=torch.int64))])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_to_device_takes_no_batch_ahead():
    """A checkpoint would otherwise keep a position that training has not reached."""
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield torch.randn(2, 3, 4, 4), torch.tensor([number, number])

    moved = to_device(batches(), CPU, torch.channels_last)
    images, labels = next(moved)
    assert taken == [0]
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [0, 0]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_an_error(loss):
    require_finite(1.0, what="The loss", advice="")
    with pytest.raises(TrainingError, match=rf"The loss of epoch 3 is {loss}: the training diverged. Lower search.lr."):
        require_finite(loss, what="The loss of epoch 3", advice="Lower search.lr.")


def test_out_of_memory_says_which_key_to_change():
    error = torch.cuda.OutOfMemoryError("HIP out of memory. Tried to allocate 2 GiB.")
    message = r"The GPU's memory is full. Lower retrain.batch_size. \(HIP out of memory.\)"
    with pytest.raises(TrainingError, match=message), memory_advice("Lower retrain.batch_size."):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match=r"^another$"), memory_advice("Lower it."):
        raise RuntimeError("another")


def test_the_cost_of_each_epoch_is_its_own():
    with EpochCost(CPU) as cost:
        first, second = cost.lap(), cost.lap()
    assert set(first) == set(second) == {"epoch_s", "data_percent", "rss_mib"}
    assert 0.0 <= first["epoch_s"] < 5.0
    assert first["rss_mib"] > 10.0


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for ``advance``."""
    now = [100.0]
    monkeypatch.setattr("darts_core.engine.loop.time.perf_counter", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def test_the_share_of_an_epoch_that_is_spent_on_data(clock):
    def batches(seconds, count=2):
        for number in range(count):
            clock(seconds)
            yield number
        clock(seconds)  # to find out that there are no more takes its time, too

    with EpochCost(CPU) as cost:
        assert cost.lap()["data_percent"] == 0.0, "an epoch without a second"
        endless = cost.waiting(itertools.chain.from_iterable(batches(2.0) for _ in range(9)))
        for number in cost.waiting(batches(1.0)):  # 3 s
            assert next(endless) == number  # 4 s
            clock(5.0)  # the step: 10 s
        lap = cost.lap()
        assert (lap["epoch_s"], lap["data_percent"]) == (17.0, pytest.approx(100 * 7 / 17))
        clock(1.0)
        assert cost.lap()["data_percent"] == 0.0, "another epoch"
        assert next(endless) == 0
        assert cost.lap()["data_percent"] == pytest.approx(100.0)


def test_a_loader_that_fails_fails_through_the_clock(clock):
    def failing():
        yield 1
        clock(3.0)
        raise RuntimeError("a broken image")

    with EpochCost(CPU) as cost:
        taken = cost.waiting(failing())
        assert next(taken) == 1
        with pytest.raises(RuntimeError, match="a broken image"):
            next(taken)
        assert cost.lap()["data_percent"] == pytest.approx(100.0)


def test_what_has_a_state(images):
    batches = Batches(images, 4, shuffle=True, generator=torch.Generator())
    assert isinstance(batches, Stateful)
    assert isinstance(Cycle(batches), Stateful)
    assert not isinstance([1], Stateful)
