"""Training a language model: the recipe's parts beside independent computations; resumed runs beside an uninterrupted one, bit for bit."""

import math

import pytest
import torch
import torch.nn.functional as F

from darts_core.config import LanguageConfig
from darts_core.data import columns
from darts_core.data.windows import Window, Windows
from darts_core.engine.averaging import Average
from darts_core.engine.language import LanguageTrainer, mean_loss, retrain_language
from darts_core.engine.loop import TrainingError
from darts_core.nets.dropout import Dropout, Masks
from darts_core.nets.language_baselines import width_of_equal_size
from darts_core.nets.language_model import LanguageModel
from darts_core.nets.lstm import Lstm
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream

TEXT = torch.arange(500).square() % 11  # what comes next depends on what came before
COST = {"epoch_s", "data_percent", "rss_mib"}


class Interrupted(Exception):
    pass


def config(**options):
    keys = {"epochs": 5, "batch_size": 4, "bptt": 8, "hidden": 6, "lr": 2.0, "nonmono": 1, "activation_penalty": 0.5}
    return LanguageConfig(**{**keys, **options})


def model(dropout=0.2):
    kinds = dict.fromkeys(("embedding", "inputs", "gates", "hidden", "outputs"), dropout)
    with seeded(0, "weights"):
        return LanguageModel(Lstm(6), num_tokens=11, dropout=Dropout(**kinds), generator=stream(0, "masks"))


def windows(cfg, *, varies=True):
    return Windows(columns(TEXT, cfg.batch_size, cfg.bptt), cfg.bptt, generator=stream(0, "windows") if varies else None)


def run(*, log=None, checkpoint=None, **options):
    """Everything is built anew in each call, as a process that starts again would."""
    cfg = config(**options)
    return retrain_language(
        model(),
        name="searched",
        train=windows(cfg),
        valid=windows(cfg, varies=False),
        cfg=cfg,
        device=torch.device("cpu"),
        log=log or (lambda metrics, epoch: None),
        checkpoint=checkpoint,
    )


def test_the_lstm_is_torch_s():
    double = torch.float64
    core = Lstm(6).to(double)
    theirs = torch.nn.LSTM(6, 6).to(double)
    enter, forget, leave, new = range(4)
    order = [enter, forget, new, leave]  # torch's: i f g o
    with torch.no_grad():
        for own, other in ((core.input_weight, theirs.weight_ih_l0), (core.hidden_weight, theirs.weight_hh_l0)):
            other.copy_(torch.cat([own.t().split(6)[k] for k in order]))
        theirs.bias_ih_l0.copy_(torch.cat([core.bias.split(6)[k] for k in order]))
        theirs.bias_hh_l0.zero_()
    x, state = torch.randn(7, 3, 6, dtype=double), torch.randn(2, 3, 6, dtype=double)
    out, last = core(x, state, Masks())
    expected, (h, c) = theirs(x, (state[:1].contiguous(), state[1:].contiguous()))
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(last, torch.cat([h, c]), atol=1e-12)


@pytest.mark.parametrize(("num_parameters", "num_tokens"), [(100_000, 1000), (22_960_000, 10_000), (50, 2)])
def test_a_baseline_is_as_wide_as_comes_nearest_to_the_size(num_parameters, num_tokens):
    def size(width):
        return num_tokens * (width + 1) + 8 * width * width + 4 * width

    width = width_of_equal_size("lstm", num_parameters=num_parameters, num_tokens=num_tokens)
    assert abs(size(width) - num_parameters) == min(abs(size(w) - num_parameters) for w in range(max(1, width - 3), width + 4))


def test_a_step_is_sgd_on_clipped_gradients_with_penalties_at_a_rate_in_proportion_to_the_window():
    cfg = config(lr=3.0, grad_clip=0.05, weight_decay=0.01, slowness_penalty=0.3)
    trainer, twin = LanguageTrainer(model(), cfg, name="x"), model()
    tokens, targets = TEXT[:20].view(5, 4), TEXT[1:21]
    value = trainer.step(Window(tokens, share=5 / 8), targets)
    twin.train()
    out = twin(tokens, twin.first_state(4))
    loss = F.cross_entropy(out.logits_NV, targets)
    total = loss + 0.5 * (out.dropped_TBD**2).mean() + 0.3 * ((out.raw_TBD[1:] - out.raw_TBD[:-1]) ** 2).mean()
    gradients = torch.autograd.grad(total, list(twin.parameters()))
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert norm > 0.05, "nothing would be clipped"
    assert value == pytest.approx(float(loss.detach()))
    for after, before, gradient in zip(trainer.parameters, twin.parameters(), gradients, strict=True):
        assert torch.allclose(after, before - 3.0 * 5 / 8 * (gradient * 0.05 / norm + 0.01 * before), atol=1e-6)


def test_the_average_is_the_mean_over_the_steps_and_applied_for_a_while():
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    average, seen = Average([parameter]), []
    for k in range(4):
        parameter.data -= torch.tensor([k + 1.0, -2.0 * k])
        seen.append(parameter.detach().clone())
        average.update()
    again = Average([torch.nn.Parameter(torch.zeros(2))])
    again.load_state_dict(average.state_dict())
    with average.applied():
        assert torch.allclose(parameter.detach(), torch.stack(seen).mean(0))
    assert torch.equal(parameter.detach(), seen[-1])
    assert torch.equal(again.state_dict()["mean"][0], average.state_dict()["mean"][0])


def test_averaging_begins_where_a_loss_exceeds_the_lowest_of_long_ago():
    trainer = LanguageTrainer(model(), config(nonmono=2), name="x")
    losses = iter([5.0, 4.0, 3.0, 3.5, 3.9, 3.2, 3.0])
    begun = []
    for _ in range(6):
        trainer.assess(_Fixed(trainer, next(losses)))
        begun.append(trainer.average is not None)
    # 3.9 is compared with 5 and 4 (of the losses before it the last two do not count), 3.2 with 3: there it begins.
    assert begun == [False, False, False, False, False, True]


class _Fixed:
    """A text on which the loss is what it is told: one token, whose probability the bias makes."""

    def __init__(self, trainer, loss):
        self._trainer, self._loss = trainer, loss

    def __iter__(self):
        with torch.no_grad():
            self._trainer.network.embedding.weight.zero_()
            rest = math.log(math.exp(self._loss) - 1.0) - math.log(10.0)
            self._trainer.network.bias.fill_(rest)
            self._trainer.network.bias[0] = 0.0
        yield Window(torch.zeros(1, 1, dtype=torch.int64)), torch.zeros(1, dtype=torch.int64)


def test_the_loss_of_a_text_does_not_depend_on_how_it_is_cut():
    network = model()
    table = columns(TEXT, 4, 8)
    losses = [mean_loss(network, Windows(table, bptt)) for bptt in (1, 7, 124)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(tmp_path, after):
    expected = run(lr=40.0)
    assert any(row["is_averaged"] for row in expected.history), "the run must reach the averaging"
    assert expected.best_epoch == min(expected.history, key=lambda row: row["valid_loss"])["epoch"]

    def stop(metrics, epoch):
        if epoch == after:
            raise Interrupted

    with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Interrupted):
            run(log=stop, checkpoint=checkpoint, lr=40.0)
        resumed = run(checkpoint=checkpoint, lr=40.0)
    assert resumed.history == expected.history
    for which in ("last", "best"):
        for name, value in getattr(resumed, which).items():
            assert torch.equal(value, getattr(expected, which)[name]), f"{which}: {name}"


def test_learning_lowers_the_perplexity_below_that_of_the_frequencies():
    trained = run(epochs=15, nonmono=0, lr=5.0)
    frequencies = TEXT.bincount()[TEXT].double() / len(TEXT)
    assert trained.history[-1]["valid_ppl"] < 0.8 * math.exp(float(-frequencies.log().mean()))


def test_what_is_logged_names_the_stage_that_trains(caplog):
    cfg = config(nonmono=0)
    trainer = LanguageTrainer(model(), cfg, name="x", section="search")
    trainer.assess(windows(cfg, varies=False))
    _diverge(trainer, windows(cfg))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["search x"]


def test_weights_are_taken_back_where_the_loss_is_no_number(monkeypatch):
    cfg = config(nonmono=0)
    trainer = LanguageTrainer(model(), cfg, name="x")
    with pytest.raises(TrainingError, match=r"The loss of epoch 1 of x is not a number.* Lower retrain.lr, or lower retrain.grad_clip."):
        _diverge(trainer, windows(cfg))
    with pytest.raises(TrainingError, match=r"or set retrain.grad_clip."):
        _diverge(LanguageTrainer(model(), config(grad_clip=0.0), name="x"), windows(cfg))
    trainer = LanguageTrainer(model(), cfg, name="x")
    trainer.epoch(windows(cfg), epoch=0)
    trainer.assess(windows(cfg, varies=False))
    good = trainer.weights()
    row = _diverge(trainer, windows(cfg))
    assert row["rolled_back"] == 1
    assert math.isnan(row["train_loss"])
    for name, value in trainer.weights().items():
        assert torch.equal(value, good[name]) or name.startswith("noise"), name
    assert trainer.epoch(windows(cfg), epoch=2)["rolled_back"] == 0
    for k in range(5):
        _diverge(trainer, windows(cfg), epoch=3 + k)
    with pytest.raises(TrainingError, match=r"Lower retrain.lr"):
        _diverge(trainer, windows(cfg), epoch=8)


def _diverge(trainer, batches, *, epoch=0):
    trainer.network.bias.data[0] = math.nan
    return trainer.epoch(batches, epoch=epoch)
