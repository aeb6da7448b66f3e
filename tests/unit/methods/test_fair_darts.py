"""FairDARTS: how its gates move."""

import torch

from darts_core.config import SearchConfig
from darts_core.methods import METHODS
from darts_core.search.steps import Bilevel
from darts_core.spaces.darts_cnn import darts_cnn


def test_alpha_moves_by_adam_with_the_published_betas_and_no_other_method_s():
    """The published code leaves torch's own (0.9, 0.999), with arch_lr 3e-3; DARTS has (0.5, 0.999)."""
    space, betas = darts_cnn(init_channels=4, layers=3, nodes=1, primitives=["skip_connect", "avg_pool_3x3"]), {}
    for name in ("darts", "fair_darts"):
        method = METHODS.build(name)
        supernet = method.supernet(space, in_channels=1, num_classes=2, generator=torch.Generator().manual_seed(0))
        steps = Bilevel(supernet, method, SearchConfig(arch_lr=3e-3, arch_weight_decay=1e-3))
        assert type(steps.arch_optimizer) is torch.optim.Adam
        group = steps.arch_optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (3e-3, 1e-3)
        betas[name] = group["betas"]
    assert betas == {"darts": (0.5, 0.999), "fair_darts": (0.9, 0.999)}
