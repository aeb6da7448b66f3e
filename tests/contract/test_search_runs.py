"""Every method as a whole search on every backend: finite, with a genotype, and after an interruption equal to the last bit."""

import numpy as np
import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.data import AugmentPolicy, Batches, Cycle, Images
from darts_core.engine.search import SearchData, search
from darts_core.methods import METHODS
from darts_core.ops.native import library as kernels
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.search.bilevel import Still
from darts_core.spaces.darts_cnn import darts_cnn
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.policy import Joint

SPACE = darts_cnn(init_channels=4, layers=3, nodes=1, primitives=("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"))
POLICY = AugmentPolicy(crop_padding=1, flip=True, cutout_length=0)
OPTIONS = {  # what a short search needs to differ, or what is random
    "pc_darts": [{"warmup_epochs": 1}],
    "smooth_darts": [{"perturbation": "random"}, {"perturbation": "adversarial", "attack_steps": 2}],
    "p_darts": [{"add_layers": [0, 1, 1], "kept_operations": [3, 2], "warmup_epochs": 0}],
    "drnas": [{}, {"progressive": True, "channel_proportions": [4, 2]}],
    "darts_plus": [{"skip_limit": 3}],
    "proxyless": [{"warmup_epochs": 1}, {"warmup_epochs": 0, "arch_gradient": "reinforce", "draws": 2}],
    "enas": [{"hidden_units": 8, "samples": 3, "score_batches": 1}],
    "random_search": [{"samples": 3, "score_batches": 1}],
    "darts_pt": [{"tune_epochs": 1}, {"tune_epochs": 0, "score_batches": 1, "fixed_alpha": True}],
}
CASES = [
    pytest.param(name, options, id="-".join([name, *map(str, options.values())])) for name in METHODS for options in OPTIONS.get(name, [{}])
]


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    return Images.from_arrays(rng.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8), labels)


def has_curvature(method):
    """Whether there is an alpha that moves."""
    return not isinstance(method.arch_gradient, Still) and not isinstance(method.relax, Joint)


def run(images, name, options, backend, *, checkpoint=None, fail_at=None):
    method = METHODS.build(name, options)
    with seeded(0, "weights"):
        supernet = method.supernet(SPACE, in_channels=1, num_classes=3, generator=stream(0, "alphas"))
    ours, theirs = images.subset(torch.arange(12)), images.subset(torch.arange(12, 24))

    def log(metrics, epoch):
        if epoch == fail_at:
            raise Interrupted

    return search(
        supernet,
        method,
        space=SPACE,
        data=SearchData(
            batch_shape=(6, 1, 8, 8),
            train=Batches(ours, 6, shuffle=True, policy=POLICY, generator=stream(0, "weight batches")),
            valid=Cycle(Batches(theirs, 5, shuffle=True, policy=POLICY, generator=stream(0, "alpha batches"))),
            held_out=Batches(theirs, 6, shuffle=False),
        ),
        cfg=SearchConfig(
            epochs=max(2, len(method.phases)),
            batch_size=6,
            arch_lr=0.05,
            lr=0.1,
            backend=backend,
            memory="normal",
            hessian_every=2 if has_curvature(method) else 0,
        ),
        device=torch.device("cpu"),
        log=log,
        checkpoint=checkpoint,
        generator=stream(0, "search perturbation"),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_interrupted_search_ends_like_an_uninterrupted_one(images, name, options, backend, tmp_path):
    if backend == "native" and not kernels.is_available():
        pytest.skip("no C++ compiler, so no native kernels")
    whole = run(images, name, options, backend)
    assert whole.computed["backend"] == backend
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, name, options, backend, checkpoint=checkpoint, fail_at=1)
        torch.rand(3)  # torch's default generator is elsewhere by then
        resumed = run(images, name, options, backend, checkpoint=checkpoint)
    assert resumed.history == whole.history
    assert resumed.genotype == whole.genotype
    assert resumed.stopped == whole.stopped
    assert all(torch.equal(value, resumed.supernet_state[key]) for key, value in whole.supernet_state.items())
    assert all(np.isfinite(value) for row in whole.history for value in row.values())
    is_curved = has_curvature(METHODS.build(name, options))
    assert ["hessian" in row for row in whole.history] == [is_curved and epoch % 2 == 1 for epoch in range(len(whole.history))]
    SPACE.check(whole.genotype)
