"""SGD as the trainings take it, beside torch's plain loop over the parameters."""

import copy

import pytest
import torch
from torch import nn

from darts_core.runtime.optim import sgd

OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-4}


def parameters(*, memory_format=torch.contiguous_format, dtype=torch.float32):
    """Sizes that fill vectors and that do not."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (65,), (7, 9), (16, 1, 3, 3), (8, 5, 3, 3), (33, 17, 1, 1)]
    values = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    return [nn.Parameter(v.to(memory_format=memory_format) if v.ndim == 4 else v) for v in values]


def gradients(like, step):
    """In the default layout, whatever that of the parameters: as torch.autograd.grad may return them."""
    generator = torch.Generator().manual_seed(1 + step)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in like]


def assert_equal(one, other):
    """Bit for bit where they fill vector registers of up to 64 bytes; the few elements behind may be rounded once less."""
    whole = one.numel() - one.numel() % (64 // one.element_size())
    memory_order = [p.detach().as_strided((p.numel(),), (1,)) for p in (one, other)]
    assert torch.equal(*(p[:whole] for p in memory_order))
    torch.testing.assert_close(*memory_order, rtol=16 * torch.finfo(one.dtype).eps, atol=torch.finfo(one.dtype).eps)


def is_fused(optimizer):
    return optimizer.param_groups[0].get("fused") is True


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_equals_the_plain_loop(memory_format, dtype, momentum):
    ours, plain = (parameters(memory_format=memory_format, dtype=dtype) for _ in range(2))
    options = {**OPTIONS, "momentum": momentum}
    optimizers = [(ours, sgd(ours, **options)), (plain, torch.optim.SGD(plain, **options, foreach=False))]
    for step in range(5):
        for own, optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            for p, grad in zip(own, gradients(own, step)):
                p.grad = grad
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(ours, plain):
        assert_equal(one, other)
        assert one.stride() == other.stride()


def test_the_cpu_takes_the_fused_form_where_torch_has_one():
    try:
        torch.optim.SGD(parameters(), **OPTIONS, fused=True)
    except RuntimeError:
        pytest.skip("this torch has no fused SGD for the CPU")
    assert is_fused(sgd(parameters(), **OPTIONS))


def test_a_torch_without_it_takes_the_plain_form(monkeypatch):
    class Refusing(torch.optim.SGD):
        def __init__(self, params, **options):
            if options.get("fused"):
                raise RuntimeError("`fused=True` requires all the params to be CUDA, floating point Tensor")
            super().__init__(params, **options)

    monkeypatch.setattr(torch.optim, "SGD", Refusing)
    optimizer = sgd(parameters(), **OPTIONS)
    assert not is_fused(optimizer)
    assert optimizer.defaults["momentum"] == 0.9


def test_other_devices_take_the_plain_form():
    assert not is_fused(sgd([nn.Parameter(torch.empty(3, device="meta"))], **OPTIONS))


def test_a_first_step_that_the_loss_scaler_skips_leaves_no_trace():
    """The first steps of a float16 training usually overflow, until the scale has come down."""
    ours, plain = parameters(), parameters()
    for own, optimizer in ((ours, sgd(ours, **OPTIONS)), (plain, torch.optim.SGD(plain, **OPTIONS, foreach=False))):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for step in range(3):
            scale = torch.inf if step == 0 else 1.0
            loss = sum((p * grad * scale).sum() for p, grad in zip(own, gradients(own, step)))
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if step == 0:
                assert all(torch.equal(p, start) for p, start in zip(own, parameters()))
    for one, other in zip(ours, plain):
        assert_equal(one, other)


def test_its_state_can_be_saved_and_restored():
    own = parameters()
    optimizer = sgd(own, **OPTIONS)
    twins = [nn.Parameter(p.detach().clone()) for p in own]
    restored = sgd(twins, **OPTIONS)
    for step in range(4):
        if step == 2:
            restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            for twin, p in zip(twins, own):
                twin.data.copy_(p.data)
        for params, one in ((own, optimizer), (twins, restored)):
            for p, grad in zip(params, gradients(params, step)):
                p.grad = grad
            one.step()
    assert all(torch.equal(p, twin) for p, twin in zip(own, twins))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_momentum_that_was_saved_in_another_layout(memory_format):
    """A search goes on by a backend whose layout is another; the fused step would read momentum in the order of its memory."""
    other = torch.channels_last if memory_format is torch.contiguous_format else torch.contiguous_format
    before = parameters(memory_format=other)
    optimizer = sgd(before, **OPTIONS)
    for p, grad in zip(before, gradients(before, 0)):
        p.grad = grad
    optimizer.step()
    ours, plain = (parameters(memory_format=memory_format) for _ in range(2))
    for own in (*zip(ours, before), *zip(plain, before)):
        own[0].data.copy_(own[1].data)
    for own, one in ((ours, sgd(ours, **OPTIONS)), (plain, torch.optim.SGD(plain, **OPTIONS, foreach=False))):
        state = copy.deepcopy(optimizer.state_dict())
        state["param_groups"] = one.state_dict()["param_groups"]
        one.load_state_dict(state)
        for p, grad in zip(own, gradients(own, 1)):
            p.grad = grad
        one.step()
    for one, two in zip(ours, plain):
        assert_equal(one, two)
