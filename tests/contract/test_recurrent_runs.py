"""Whole searches of a recurrent cell: finite, logged, with a genotype, and after an interruption equal to the last bit."""

import math

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data.windows import Windows
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.search.bilevel import Still
from darts_core.spaces import SPACES
from darts_core.supernet.recurrent import RecurrentSupernet

WORDS, BPTT = 9, 5
SPACE = SPACES.build("darts_rnn", {"nodes": 2, "hidden": 6, "bptt": BPTT, "primitives": ["none", "tanh", "relu"], "dropout_embedding": 0.1})
CASES = {
    "darts": {},
    "darts-unrolled": {"arch_gradient": "unrolled"},
    "darts-exact": {"arch_gradient": "exact"},
    "gdas": {},
    "gaea": {},
    "smooth_darts": {"perturbation": "adversarial", "attack_steps": 2},
    "random_search": {"samples": 3, "score_batches": 2},
}


class Interrupted(Exception):
    pass


def columns(seed):
    return torch.randint(WORDS, (17, 4), generator=torch.Generator().manual_seed(seed))


def run(case, *, checkpoint=None, fail_at=None, **settings):
    method = METHODS.build(case.partition("-")[0], CASES[case])
    with seeded(0, "weights"):
        supernet = method.supernet(SPACE, in_channels=WORDS, num_classes=WORDS, generator=stream(0, "alphas"))

    def log(metrics, epoch):
        if epoch == fail_at:
            raise Interrupted

    hessian_every = 0 if isinstance(method.arch_gradient, Still) else 2
    recipe = {"epochs": 2, "lr": 0.2, "lr_min": 0.2, "momentum": 0.0, "grad_clip": 0.25, "arch_lr": 0.05, "hessian_every": hessian_every}
    return search(
        supernet,
        method,
        space=SPACE,
        data=SearchData(
            batch_shape=(4, BPTT),
            train=Windows(columns(1), BPTT, generator=stream(0, "weight windows")),
            valid=Windows(columns(2)[:12], BPTT, is_endless=True),
            held_out=Windows(columns(2), BPTT),
        ),
        cfg=SearchConfig(**{**recipe, **settings}),
        device=torch.device("cpu"),
        log=log,
        checkpoint=checkpoint,
        generator=stream(0, "search perturbation"),
    )


@pytest.mark.parametrize("backend", RecurrentSupernet.backends)
@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_search_ends_like_an_uninterrupted_one(case, backend, tmp_path):
    if backend == "native" and not kernels.is_available(kernels.RECURRENT):
        pytest.skip("no C++ compiler, so no native kernels")
    whole = run(case, backend=backend)
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(case, checkpoint=checkpoint, fail_at=1, backend=backend)
        torch.rand(3)  # torch's default generator is elsewhere by then
        resumed = run(case, checkpoint=checkpoint, backend=backend)
    assert whole.computed == {"backend": backend, "memory": "normal"}
    assert resumed.history == whole.history
    assert resumed.genotype == whole.genotype
    assert all(torch.equal(value, resumed.supernet_state[key]) for key, value in whole.supernet_state.items())
    assert all(math.isfinite(value) for row in whole.history for value in row.values())
    assert [row["valid_ppl"] for row in whole.history] == [math.exp(row["valid_loss"]) for row in whole.history]
    SPACE.check(whole.genotype)


@pytest.mark.parametrize("options", [{"score_batches": 2}, {}])
def test_killed_in_a_selection_that_tunes_nothing_is_computed_twice(options, computed, tmp_path, monkeypatch):
    """A pass over a window leaves its last state with the text: an evaluation must not move what training goes on from."""
    monkeypatch.setitem(CASES, "darts_pt", {"tune_epochs": 1, **options})
    whole, parts = run("darts_pt"), list(computed)
    computed.clear()
    tuned = parts.index("train_epoch")
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        for number in (1, tuned, tuned + 1, tuned + 2, len(parts) - 1):
            computed.killed_after = number
            with pytest.raises(computed.Killed):
                run("darts_pt", checkpoint=checkpoint)
            assert computed == parts[:number]
        computed.killed_after = None
        resumed = run("darts_pt", checkpoint=checkpoint)
    assert computed == parts
    assert resumed.genotype == whole.genotype
    assert all(torch.equal(value, resumed.supernet_state[key]) for key, value in whole.supernet_state.items())


def test_the_curvature_is_logged_beside_the_search_and_changes_nothing():
    watched, alone = (run("darts", hessian_every=every) for every in (1, 0))
    assert all("hessian" in row for row in watched.history)
    assert all(torch.equal(value, watched.supernet_state[key]) for key, value in alone.supernet_state.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "compiled"}, r"search\.backend must be auto, reference, eager or native with this space\. Got compiled\."),
        ({"memory": "lean"}, r"search\.memory must be auto or normal with this space"),
    ],
)
def test_what_recurrent_cells_have_not_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        run("darts", **settings)
