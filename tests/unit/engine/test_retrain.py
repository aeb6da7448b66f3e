"""Training from scratch; resumed runs beside an uninterrupted one, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from darts_core.config import RetrainConfig
from darts_core.data import AugmentPolicy, Batches
from darts_core.engine.loop import TrainingError
from darts_core.engine.retrain import Trainer, retrain
from darts_core.genotype import Cell, Edge, Genotype
from darts_core.nets.network import Network
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream

POOL = "max_pool_3x3"
POLICY = AugmentPolicy(crop_padding=1, flip=True, cutout_length=2)
COST = {"epoch_s", "data_percent", "rss_mib"}
CPU = torch.device("cpu")


class Interrupted(Exception):
    pass


def config(**options):
    return RetrainConfig(**{"epochs": 4, "batch_size": 8, "lr": 0.1, "drop_path_prob": 0.4, **options})


def genotype(op):
    cell = Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge(op, 2), Edge("dil_conv_3x3", 0))), (2, 3))
    return Genotype(normal=cell, reduce=cell)


def run(images, *, op=POOL, log=None, checkpoint=None, has_valid=True, name="searched", **options):
    """Everything is built anew in each call, as a process that starts again would."""
    cfg = config(**options)
    drop_path = DropPath(stream(0, "drop path"))
    with seeded(0, "weights"):
        sizes = {"in_channels": 1, "num_classes": 3, "init_channels": 4, "layers": 3}
        network = Network(genotype(op), **sizes, auxiliary=cfg.auxiliary, drop_path=drop_path)
    index = torch.arange(len(images))
    return retrain(
        network,
        name=name,
        train=Batches(images.subset(index[:20]), cfg.batch_size, shuffle=True, policy=POLICY, generator=stream(0, "batches")),
        valid=Batches(images.subset(index[20:]), 4, shuffle=False) if has_valid else None,
        cfg=cfg,
        drop_path=drop_path,
        device=CPU,
        memory_format=torch.channels_last,
        log=log or (lambda metrics, epoch: None),
        checkpoint=checkpoint,
    )


def assert_same(one, other):
    for which in ("last", "best"):
        state, expected = getattr(one, which), getattr(other, which)
        assert state.keys() == expected.keys()
        for name, value in state.items():
            assert torch.equal(value, expected[name]), f"{which}: {name}"
    assert one.best_epoch == other.best_epoch
    assert one.history == other.history


@pytest.fixture(scope="module")
def whole(images):
    return run(images)


def interrupt_at(*epochs):
    left = list(epochs)

    def log(metrics, epoch):
        if epoch in left:
            left.remove(epoch)
            raise Interrupted

    return log


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_interrupted_after_an_epoch_it_ends_like_an_uninterrupted_run(images, whole, epoch, tmp_path):
    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, log=interrupt_at(epoch), checkpoint=checkpoint)
        seen = []
        torch.rand(epoch)
        assert_same(run(images, log=lambda metrics, epoch: seen.append(epoch), checkpoint=checkpoint), whole)
    assert seen == list(range(epoch + 1, 5)), "no epoch is trained twice"


def test_interrupted_after_every_epoch(images, whole, tmp_path):
    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        log = interrupt_at(1, 2, 3, 4)
        for _ in range(4):
            with pytest.raises(Interrupted):
                run(images, log=log, checkpoint=checkpoint)
        assert_same(run(images, log=log, checkpoint=checkpoint), whole)


@pytest.mark.parametrize(
    "options",
    [{"has_valid": False}, {"op": "dropout"}, {"amp": "float16"}, {"auxiliary": False, "momentum": 0.0, "warmup_epochs": 2}],
    ids=str,
)
def test_other_recipes_resume_too(images, options, tmp_path):
    expected = run(images, **options)
    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(images, log=interrupt_at(2), checkpoint=checkpoint, **options)
        assert_same(run(images, checkpoint=checkpoint, **options), expected)


def test_networks_keep_states_of_their_own(images, whole, tmp_path):
    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        run(images, checkpoint=checkpoint, name="random_0", epochs=1)
        assert_same(run(images, checkpoint=checkpoint), whole)


class TestBestEpoch:
    def rows(self, monkeypatch, images, scores, **options):
        """Train with validation scores (loss, accuracy) that are given."""
        given = iter(scores)
        monkeypatch.setattr("darts_core.engine.retrain.assess", lambda *args, **kwargs: next(given))
        states = []
        taken = run(images, epochs=len(scores), log=lambda metrics, epoch: states.append(epoch), **options)
        assert states == list(range(1, len(scores) + 1))
        return taken

    def test_it_has_the_highest_accuracy_and_of_these_the_lowest_loss_and_comes_first(self, monkeypatch, images):
        scores = [(1.0, 50.0), (0.9, 70.0), (0.5, 70.0), (0.5, 70.0), (0.1, 60.0)]
        trained = self.rows(monkeypatch, images, scores)
        assert trained.best_epoch == 3
        assert trained.value("valid_acc", "best") == 70.0
        assert trained.value("valid_acc", "last") == 60.0
        assert any(not torch.equal(trained.best[key], trained.last[key]) for key in trained.best)

    def test_its_weights_are_those_of_that_epoch(self, monkeypatch, images):
        trained = self.rows(monkeypatch, images, [(1.0, 50.0), (1.0, 80.0), (1.0, 60.0), (1.0, 40.0)])
        monkeypatch.undo()
        states = []
        original = Trainer.epoch

        def remembering(self, batches, *, epoch):
            row = original(self, batches, epoch=epoch)
            states.append({name: value.clone() for name, value in self.network.state_dict().items()})
            return row

        monkeypatch.setattr(Trainer, "epoch", remembering)
        run(images)
        assert trained.best_epoch == 2
        assert all(torch.equal(trained.best[key], states[1][key]) for key in states[1])

    def test_without_validation_data_it_is_the_last(self, images):
        trained = run(images, has_valid=False)
        assert trained.best_epoch == 4
        assert all(torch.equal(trained.best[key], trained.last[key]) for key in trained.last)
        assert trained.value("valid_acc", "best") is None
        assert "valid_acc" not in trained.history[0]


def test_what_is_kept_of_each_epoch(images, whole):
    assert [row["epoch"] for row in whole.history] == [1, 2, 3, 4]
    assert [row["drop_path_prob"] for row in whole.history] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert whole.history[0]["lr"] == 0.1
    assert whole.history[2]["lr"] == pytest.approx(0.05)
    assert not COST & set(whole.history[0])
    logged = []
    trained = run(images, epochs=1, log=lambda metrics, epoch: logged.append(metrics))
    assert logged == [{key: value for key, value in {**trained.history[0], **trained.costs[0]}.items() if key != "epoch"}]


def test_it_learns(images):
    history = run(images, epochs=15, drop_path_prob=0.0, auxiliary=False).history
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert history[-1]["train_acc"] > 55.0


def test_a_diverging_run_says_which_key_to_change(images, tmp_path):
    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        for grad_clip, change in ((0.0, "set"), (5.0, "lower")):
            message = rf"The loss of epoch 1 is nan: the training diverged\. Lower retrain\.lr, or {change} retrain\.grad_clip\."
            with pytest.raises(TrainingError, match=message):
                run(images, lr=1e30, grad_clip=grad_clip, checkpoint=checkpoint)
        assert checkpoint.load("searched") is None


class TwoHeads(nn.Module):
    """Two linear classifiers, as a cell network with an auxiliary head looks from outside."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.auxiliary = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = x.flatten(1)
        return (self.main(x), self.auxiliary(x)) if self.training else self.main(x)


@pytest.mark.parametrize("grad_clip", [0.0, 0.1])
def test_a_step_is_clipped_sgd_on_both_heads_losses(grad_clip):
    cfg = config(grad_clip=grad_clip, auxiliary_weight=0.3, label_smoothing=0.1, momentum=0.9, weight_decay=0.01, lr_min=0.1)
    network, twin = TwoHeads(), TwoHeads()
    trainer = Trainer(network, cfg, device=CPU, drop_path=DropPath(stream(0, "x")))
    buffers = [torch.zeros_like(p) for p in twin.parameters()]
    for number in range(3):
        generator = torch.Generator().manual_seed(number)
        x, y = torch.randn(5, 1, 2, 2, generator=generator), torch.randint(3, (5,), generator=generator)
        main, auxiliary = twin(x)
        smooth = 0.9 * F.one_hot(y, 3) + 0.1 / 3
        losses = [-(smooth * logits.log_softmax(1)).sum(1).mean() for logits in (main, auxiliary)]
        grads = torch.autograd.grad(losses[0] + 0.3 * losses[1], list(twin.parameters()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        scale = min(1.0, grad_clip / float(norm + 1e-6)) if grad_clip else 1.0
        with torch.no_grad():
            for p, g, buffer in zip(twin.parameters(), grads, buffers):
                buffer.mul_(0.9).add_(scale * g + 0.01 * p)
                p.sub_(0.1 * buffer)
        row = trainer.epoch([(x, y)], epoch=number)
        assert row["train_loss"] == pytest.approx(float(losses[0].detach())), "the auxiliary head's share is left out"
        torch.testing.assert_close(list(network.parameters()), list(twin.parameters()))


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_mixed_precision_keeps_the_weights_in_float32(images, amp):
    trained = run(images, epochs=2, amp=amp)
    assert all(value.dtype == torch.float32 for value in trained.last.values() if value.is_floating_point())
    plain = run(images, epochs=2)
    assert trained.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=0.2)
    assert trained.history[0]["train_loss"] != plain.history[0]["train_loss"]
