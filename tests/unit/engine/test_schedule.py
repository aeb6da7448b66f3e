import pytest
import torch

from darts_core.engine.schedule import cosine


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.025), (1, 0.0249763), (10, 0.0227082), (25, 0.013), (49, 1.0236793e-3)])
def test_the_papers_search(epoch, lr):
    assert cosine(epoch, epochs=50, lr=0.025, lr_min=0.001) == pytest.approx(lr, rel=1e-5)


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.025), (300, 0.0125), (599, 1.7134691e-7)])
def test_the_papers_retraining(epoch, lr):
    assert cosine(epoch, epochs=600, lr=0.025, lr_min=0.0) == pytest.approx(lr, rel=1e-5)


def test_it_is_torchs_own_cosine():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7, eta_min=0.02)
    for epoch in range(7):
        assert cosine(epoch, epochs=7, lr=0.3, lr_min=0.02) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_the_warm_up_is_linear_and_the_cosine_follows():
    rates = [cosine(epoch, epochs=10, lr=1.0, lr_min=0.0, warmup_epochs=3) for epoch in range(10)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[3:] == pytest.approx([cosine(epoch, epochs=7, lr=1.0, lr_min=0.0) for epoch in range(7)])


def test_one_epoch_has_the_full_rate():
    assert cosine(0, epochs=1, lr=0.1, lr_min=0.0) == 0.1
