import torch

from darts_core.supernet.arch import INIT_SCALE, ArchParameters


def arch(seed=0):
    return ArchParameters({"normal": (14, 8), "reduce": (14, 8)}, generator=torch.Generator().manual_seed(seed))


def test_values_come_from_the_generator_alone():
    torch.manual_seed(1)
    one = arch()
    torch.manual_seed(2)
    other = arch()
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one.items(), other.items()))
    assert not torch.equal(arch(1).normal, one.normal)


def test_values_start_small():
    values = torch.cat([alpha.detach().flatten() for _, alpha in arch().items()])
    assert len(values) == 224
    assert 0.8 * INIT_SCALE < float(values.std()) < 1.2 * INIT_SCALE


def test_they_are_saved_and_loaded():
    one, other = arch(0), arch(1)
    assert list(one.state_dict()) == ["normal", "reduce"]
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.reduce, one.reduce)
