"""Every published genotype can be built and run, at even and at odd sizes."""

import pytest
import torch

from darts_core.genotype import CELL_TYPES, Genotype, published, published_names, published_source
from darts_core.spaces import SPACES

SPACE = SPACES.build("darts_cnn")


@pytest.mark.parametrize("name", published_names())
def test_it_is_built_and_runs(name):
    genotype = published(name)
    assert Genotype.from_dict(genotype.to_dict()) == genotype
    assert published_source(name)
    assert all(genotype.cell(cell_type).nodes for cell_type in CELL_TYPES)
    torch.manual_seed(0)
    network = SPACE.network(genotype, in_channels=3, num_classes=5, init_channels=2, layers=3, auxiliary=True)
    for size in (32, 33):
        logits, auxiliary = network.train()(torch.randn(2, 3, size, size))
        assert logits.shape == auxiliary.shape == (2, 5)
        with torch.no_grad():
            assert network.eval()(torch.randn(1, 3, size, size)).isfinite().all()
    (logits + auxiliary).logsumexp(1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
