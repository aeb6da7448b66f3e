"""The probe: what it says of each architecture, that it changes nothing of the search, and that it survives an interruption."""

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data import Batches, Cycle
from darts_core.engine.rank_disorder import RankProbe, draw_distinct, supernet_accuracy
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.spaces.nasbench201 import nasbench201

SPACE = nasbench201(init_channels=2, layers=3, nodes=3)


class Interrupted(Exception):
    pass


def probe_of(images, *, every=1):
    drawn = draw_distinct(SPACE, 6, generator=stream(0, "rank disorder"))
    return RankProbe(
        genotypes=drawn,
        names=[SPACE.spell(genotype) for genotype in drawn],
        own_accs=[10.0 * k for k in range(6)],
        batches=list(Batches(images, 15, shuffle=True, generator=stream(0, "probe"))),
        every=every,
    )


def run(images, *, probe, method="darts", checkpoint=None, fail_at=None, **options):
    method = METHODS.build(method)
    with seeded(0, "weights"):
        supernet = method.supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    batches = [Batches(images, 10, shuffle=True, generator=stream(0, name)) for name in ("weights", "alphas")]

    def log(metrics, epoch):
        if epoch == fail_at:
            raise Interrupted

    return search(
        supernet,
        method,
        space=SPACE,
        data=SearchData(batch_shape=(10, 1, 8, 8), train=batches[0], valid=Cycle(batches[1]), held_out=Batches(images, 10, shuffle=False)),
        cfg=SearchConfig(epochs=3, batch_size=10, backend="reference", memory="normal", **options),
        device=torch.device("cpu"),
        log=log,
        checkpoint=checkpoint,
        probe=probe,
    )


@pytest.mark.parametrize("method", ["darts", "gdas"])
def test_the_probe_changes_nothing_and_is_logged_when_it_is_due(images, method):
    plain, watched = run(images, probe=None, method=method), run(images, probe=probe_of(images, every=2), method=method)
    assert plain.ranks == []
    assert [[key for key in row if key.startswith("rank_")] for row in watched.history][::2] == [[], []]
    assert {"rank_tau", "rank_tau_low", "rank_rho_high"} <= set(watched.history[1])
    assert -1.0 <= watched.history[1]["rank_tau_low"] <= watched.history[1]["rank_tau"] <= watched.history[1]["rank_tau_high"] <= 1.0
    assert [{key: v for key, v in row.items() if not key.startswith("rank_")} for row in watched.history] == plain.history
    assert all(torch.equal(value, plain.supernet_state[name]) for name, value in watched.supernet_state.items())
    assert [row["epoch"] for row in watched.ranks] == [2] * 6
    assert [row["own_acc"] for row in watched.ranks] == [10.0 * k for k in range(6)]


def test_what_is_said_is_the_accuracy_of_each_path_with_the_batches_own_statistics(images):
    probe = probe_of(images)
    result = run(images, probe=probe)
    supernet = METHODS.build("darts").supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    supernet.load_state_dict(result.supernet_state)
    supernet.train()
    last = [row for row in result.ranks if row["epoch"] == 3]
    for genotype, row in zip(probe.genotypes, last):
        with supernet.only(genotype), torch.no_grad():
            right = sum((supernet(x).argmax(1) == y).sum().item() for x, y in probe.batches)
        assert row["supernet_acc"] == pytest.approx(100 * right / 30)


def test_interrupted_and_resumed_it_says_the_same(images, tmp_path):
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, probe=probe_of(images), checkpoint=checkpoint, fail_at=2)
        resumed = run(images, probe=probe_of(images), checkpoint=checkpoint)
    whole = run(images, probe=probe_of(images))
    assert resumed.ranks == whole.ranks
    assert len(whole.ranks) == 18
    assert resumed.history == whole.history


def test_nothing_of_the_supernet_moves(images):
    supernet = METHODS.build("darts").supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    drawn = torch.random.get_rng_state()
    supernet_accuracy(supernet, draw_distinct(SPACE, 1, generator=stream(1, "rank disorder"))[0], probe_of(images).batches)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_what_a_supernet_does_not_offer_is_left_out(images):
    space = nasbench201(init_channels=2, layers=3, nodes=3, primitives=("none", "skip_connect", "nor_conv_3x3", "nor_conv_1x1"))
    supernet = METHODS.build("darts").supernet(space, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    probe = probe_of(images)
    found, rows = probe.compare(supernet, 1, device=torch.device("cpu"), memory_format=torch.contiguous_format)
    assert [row["architecture"] for row in rows] == [name for name in probe.names if "avg_pool" not in name]
    assert 0 < len(rows) < 5
    assert found == {}


def test_architectures_are_distinct_and_those_of_the_seed():
    drawn = [SPACE.spell(genotype) for genotype in draw_distinct(SPACE, 20, generator=stream(3, "rank disorder"))]
    assert len(set(drawn)) == 20
    assert drawn == [SPACE.spell(genotype) for genotype in draw_distinct(SPACE, 20, generator=stream(3, "rank disorder"))]
    small = nasbench201(nodes=2, primitives=("none", "skip_connect"))
    with pytest.raises(ValueError, match=r"search\.rank_samples: 5 different .* in the space 'nasbench201'\. Found 2\."):
        draw_distinct(small, 5, generator=stream(0, "rank disorder"))


def test_asked_for_without_a_probe_it_is_refused(images):
    with pytest.raises(ValueError, match=r"search\.rank_samples must be 0 here: .* Got 6\."):
        run(images, probe=None, rank_samples=6, rank_truth=1)
