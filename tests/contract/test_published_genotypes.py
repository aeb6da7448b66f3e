"""Every published genotype can be built and run, at even and at odd sizes."""

import pytest
import torch

from darts_core.genotype import CELL_TYPES, Genotype, published, published_names, published_source
from darts_core.nets.dropout import Dropout
from darts_core.spaces import SPACES

SPACE = SPACES.build("darts_cnn")
OF_TEXTS = [name for name in published_names() if published(name).space == "darts_rnn"]


@pytest.mark.parametrize("name", published_names())
def test_it_is_read_as_it_is_written(name):
    genotype = published(name)
    assert Genotype.from_dict(genotype.to_dict()) == genotype
    assert published_source(name)


@pytest.mark.parametrize("name", OF_TEXTS)
def test_a_recurrent_one_is_built_and_runs(name):
    torch.manual_seed(0)
    space = SPACES.build("darts_rnn")
    network = space.network(published(name), num_tokens=7, width=4, dropout=Dropout(hidden=0.1), generator=torch.Generator())
    out = network(torch.randint(7, (3, 2)), network.first_state(2))
    assert out.logits_NV.shape == (6, 7)
    out.logits_NV.logsumexp(1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", [name for name in published_names() if name not in OF_TEXTS])
def test_it_is_built_and_runs(name):
    genotype = published(name)
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
