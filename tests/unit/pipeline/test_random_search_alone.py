"""Random search without shared weights: what it trains on, what it takes, what it costs, and after a kill the same."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from darts_core.api import search_architecture
from darts_core.components import build_method, build_space, cross_check
from darts_core.config import Config, TextConfig
from darts_core.data import open_prepared, open_text, prepare
from darts_core.data.prepared import Prepared
from darts_core.engine import training
from darts_core.engine.loop import TrainingError
from darts_core.engine.rank_disorder import draw_distinct
from darts_core.engine.retrain import Trainer
from darts_core.pipeline import search
from darts_core.pipeline.short_training import ShortTraining
from darts_core.pipeline.stage import Stage
from darts_core.report.search import draw_search, save_tables
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import stream
from darts_core.runtime.session import start
from darts_core.spaces import SPACES
from darts_core.spaces.space import CellSpace
from darts_core.tracking import reports

SIZES = {"init_channels": 4, "layers": 3, "nodes": 2, "search_space": str(Path(__file__).parents[2] / "contract" / "two_layers.json")}
FOR_IMAGES = [name for name in SPACES if name != "darts_rnn"]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Images of 16x16 pixels in two classes, bright and dark, with noise."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for k, kind in enumerate(("cat", "dog")):
        (folder / "photos" / kind).mkdir(parents=True)
        for i in range(14):
            pixels = (60 + 60 * k + rng.integers(0, 80, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{i}.png")
    data = {"name": "image_folder", "root": str(folder / "photos"), "valid_fraction": 0.0}
    prepare(config(data=data).data, folder / "prepared")
    return open_prepared(folder / "prepared")


def config(name="nasbench201", *, samples=4, train_epochs=2, halving=None, search=None, **sections):
    space = {"name": name, **{key: value for key, value in SIZES.items() if key in SPACES.options(name)}}
    method = {"name": "random_search", "shared_weights": False, "samples": samples, "train_epochs": train_epochs, "halving": halving}
    recipe = {"batch_size": 6, "lr": 0.1, "epochs": 9, **(search or {})}
    runtime = {"num_threads": 1, "num_workers": 0, "progress": "off"}
    return Config.model_validate(
        {"data": {"name": "digits"}, "space": space, "method": method, "search": recipe, "runtime": runtime, **sections}
    )


def run(cfg, prepared, **options):
    return search.search_cell(cfg, prepared, start(cfg.runtime, seed=cfg.seed), **options)


def without_time(rows):
    return [{key: value for key, value in row.items() if not key.endswith(("_s", "_percent", "_mib"))} for row in rows]


def test_it_takes_the_best_on_held_out_images_of_networks_that_were_each_trained_alone(prepared):
    cfg = config()
    found = run(cfg, prepared)
    again = ShortTraining(
        cfg, prepared, start(cfg.runtime, seed=0), epochs=2, name=str, purpose="random search", checkpoint=None
    )  # by themselves, in another order
    space = build_space(cfg)
    drawn = draw_distinct(space, 4, generator=stream(cfg.seed, "random search"))
    own = {number: again(drawn[number], number).history[-1]["valid_acc"] for number in (3, 1, 0, 2)}
    assert [row["valid_acc"] for row in found.history] == [own[number] for number in range(4)]
    best = max(range(4), key=lambda number: own[number])
    assert found.genotype.cells == drawn[best].cells
    assert found.genotype.rule == "best_of_trained"
    assert found.chosen == best
    assert found.valid_acc == own[best]
    assert len(set(own.values())) > 1, "else the best would be any"


def test_halving_trains_the_best_of_a_round_anew_for_longer(prepared):
    cfg = config("darts_cnn", samples=9, train_epochs=1, halving=2)
    found = run(cfg, prepared)
    assert [row["trained_epochs"] for row in found.history] == [1] * 9 + [2] * 4 + [4] * 2
    drawn = draw_distinct(build_space(cfg), 9, generator=stream(cfg.seed, "random search"))
    running, before = drawn, 0
    for count, epochs in ((9, 1), (4, 2), (2, 4)):
        again = ShortTraining(cfg, prepared, start(cfg.runtime, seed=0), epochs=epochs, name=str, purpose="random search", checkpoint=None)
        rows = [again(genotype, before + place).history[-1] for place, genotype in enumerate(running)]
        assert [row["valid_loss"] for row in rows] == [row["valid_loss"] for row in found.history[before : before + count]]
        order = sorted(range(count), key=lambda place: (-rows[place]["valid_acc"], rows[place]["valid_loss"]))
        assert len({row["valid_loss"] for row in rows}) == count, "else the order would be any"
        running, before = [running[place] for place in order[: count // 2]], before + count
    assert found.genotype.cells == running[0].cells
    assert found.chosen == 13 + order[0]


def test_a_kill_between_two_rounds_changes_nothing(prepared, tmp_path):
    cfg = config(train_epochs=1, halving=2)
    whole = run(cfg, prepared)

    def log(metrics, number):
        if number == 4:
            raise Killed

    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        with pytest.raises(Killed):
            run(cfg, prepared, checkpoint=checkpoint, log=log)
        resumed = run(cfg, prepared, checkpoint=checkpoint)
    assert (resumed.history, resumed.genotype, len(whole.history)) == (whole.history, whole.genotype, 6)


def test_no_test_image_is_read_and_a_search_trains_on_its_share_alone(prepared, monkeypatch):
    seen = []
    monkeypatch.setattr(Prepared, "test", lambda self: pytest.fail("the test set was opened"))
    whole = training.train_epochs

    def looked_at(recipe, *, train, valid, **options):
        seen.append((sum(len(labels) for _, labels in train), sum(len(labels) for _, labels in valid)))
        return whole(recipe, train=train, valid=valid, **options)

    monkeypatch.setattr("darts_core.engine.retrain.train_epochs", looked_at)
    cfg = config(search={"train_portion": 0.5, "data_fraction": 0.5})
    run(cfg, prepared)
    halves = prepared.search_splits(0.5, seed=cfg.seed, fraction=0.5)
    assert seen == [tuple(map(len, halves))] * 4


@pytest.mark.parametrize("name", FOR_IMAGES)
def test_it_runs_in_every_space_for_images(prepared, name):
    cfg = config(name, samples=2, search={"batch_size": 12})
    found = run(cfg, prepared)
    space = build_space(cfg)
    assert isinstance(space, CellSpace)
    space.check(found.genotype)
    assert len(found.history) == 2
    assert all(np.isfinite(value) for row in found.history for value in row.values())


@pytest.mark.parametrize("at", ["between", "within"])
def test_after_a_kill_it_ends_like_an_uninterrupted_search(prepared, tmp_path, monkeypatch, at):
    cfg = config()
    whole = run(cfg, prepared)

    def log(metrics, number):
        if number == 2 and at == "between":
            raise Killed

    save, saved = Checkpoint.save, []

    def until_the_third_is_half_trained(self, name, state):
        save(self, name, state)
        saved.append(name)
        if name == "candidate_2" and at == "within":
            raise Killed

    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        monkeypatch.setattr(Checkpoint, "save", until_the_third_is_half_trained)
        with pytest.raises(Killed):
            run(cfg, prepared, checkpoint=checkpoint, log=log)
        monkeypatch.setattr(Checkpoint, "save", save)
        torch.rand(3)  # torch's default generator is elsewhere by then
        kept = checkpoint.load("search")["costs"]
        begun = checkpoint.load("candidate_2")
        resumed = run(cfg, prepared, checkpoint=checkpoint)
        assert [path.stem for path in checkpoint.folder.glob("*.pt")] == ["search"], "what is trained leaves no weights behind"
    assert resumed.history == whole.history
    assert resumed.genotype == whole.genotype
    assert without_time(resumed.costs) == without_time(whole.costs)
    assert resumed.costs[:2] == kept, "the seconds ahead of the kill count"
    if at == "within":
        assert resumed.costs[2]["architecture_s"] > begun["costs"][0]["epoch_s"] > 0.0


def test_all_seconds_are_the_search_s_and_the_metrics_are_those_of_the_best(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = config()
    found = run(cfg, prepared)
    kept = {}
    stage = Stage(name="search", cfg=cfg, session=None, tracker=None, reports=tmp_path)
    monkeypatch.setattr(stage, "metrics", kept.update)
    search._save(found, stage)
    assert stage.resources["search_epochs_s"] == sum(row["architecture_s"] for row in found.costs) > 0.0
    assert "search_architecture_s" in stage.resources
    assert "search_epoch_s" not in stage.resources
    assert kept["search_valid_acc"] == max(row["valid_acc"] for row in found.history)
    assert (tmp_path / "history.png").exists()
    for name in ("history.csv", "epochs_resources.csv", "architectures/accuracy.csv"):
        table = pd.read_csv(tmp_path / name)
        assert list(table["architecture"]) == [1, 2, 3, 4]
        assert "epoch" not in table
    points = {(name, step) for name, _, step in reports.curves(tmp_path, stage="search", all_edges=False)}
    assert {("search/valid_acc", number) for number in (1, 2, 3, 4)} < points
    assert ("search/architecture_s", 4) in points
    op_EO, edge_E, content = search.read_arch()
    derived = build_method(cfg).derived(
        op_EO, primitives=content["primitives"], shape=build_space(cfg).shape, space=content["space"], edge_E=edge_E
    )
    assert derived == found.genotype


class Diverging:
    """Training that yields no number: of the architectures in ``during`` in the steps, of those in ``after`` in validation."""

    def __init__(self, monkeypatch, *, during=(), after=()):
        self.build, self.monkeypatch, self.during, self.after = search.ShortTraining, monkeypatch, during, after
        monkeypatch.setattr(search, "ShortTraining", self)

    def __call__(self, *args, **options):
        train = self.build(*args, **options)
        step, assess = Trainer.step, Trainer.assess

        def one(genotype, number):
            with self.monkeypatch.context() as patch:
                if number in self.during:
                    patch.setattr(Trainer, "step", lambda own, *batch: (torch.tensor(float("nan")), step(own, *batch)[1]))
                if number in self.after:
                    patch.setattr(Trainer, "assess", lambda own, batches: {**assess(own, batches), "valid_loss": float("inf")})
                return train(genotype, number)

        return one


def test_an_architecture_that_diverges_comes_last_and_the_search_goes_on(prepared, tmp_path, monkeypatch, caplog):
    cfg, logged = config(), {}
    whole = run(cfg, prepared)
    other, *_, best = sorted(range(4), key=lambda number: whole.history[number]["valid_acc"])
    Diverging(monkeypatch, during=[best], after=[other])
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        found = run(cfg, prepared, checkpoint=checkpoint, log=lambda metrics, number: logged.update({number - 1: metrics}))
        assert [path.stem for path in checkpoint.folder.glob("*.pt")] == ["search"]
        assert run(cfg, prepared, checkpoint=checkpoint).history == found.history
    assert found.chosen == max(
        set(range(4)) - {best, other}, key=lambda number: (whole.history[number]["valid_acc"], -whole.history[number]["valid_loss"])
    )
    for number in range(4):
        row = found.history[number]
        assert row["diverged"] == (number in (best, other))
        assert ("valid_loss" in row) is not bool(row["diverged"])
        assert found.costs[number]["architecture_s"] > 0.0, "the seconds are spent all the same"
        assert all(np.isfinite(value) for value in logged[number].values())
    assert f"architecture {best + 1} comes last. The loss of epoch 1 is nan: the training diverged." in caplog.text
    assert f"architecture {other + 1} comes last. Its validation loss is inf" in caplog.text
    save_tables(found.history, [], found.costs, tmp_path)
    draw_search(found.history, [], tmp_path)
    assert (tmp_path / "history.png").exists()


def test_where_all_diverge_the_search_has_found_nothing(prepared, monkeypatch):
    Diverging(monkeypatch, during=[0, 2], after=[1, 3])
    with pytest.raises(TrainingError, match=r"of all 4 architectures diverged\. Lower search\.lr"):
        run(config(), prepared)


def test_a_space_with_fewer_architectures_is_told_before_anything_is_trained(prepared, monkeypatch):
    monkeypatch.setattr(search, "ShortTraining", lambda *args, **options: pytest.fail("trained"))
    cfg = config(samples=6)
    with pytest.raises(ValueError, match=r"method\.samples: 6 different architectures expected in the space 'nasbench201'\. Found 5\."):
        run(cfg, prepared)


def test_a_recurrent_cell_is_taken_by_its_loss(tmp_path):
    rng = np.random.default_rng(0)
    for split, lines in (("train", 60), ("valid", 12), ("test", 12)):
        text = "\n".join(" ".join(rng.choice(list("abcdef"), 6)) for _ in range(lines))
        (tmp_path / f"{split}.txt").write_text(text)
    data = {"name": "text", "root": str(tmp_path), "valid_fraction": 0.0}
    space = {"name": "darts_rnn", "nodes": 2, "hidden": 6, "bptt": 5}
    method = {"name": "random_search", "shared_weights": False, "samples": 3}
    recipe = {"batch_size": 4, "lr": 1.0, "lr_min": 1.0, "epochs": 2, "grad_clip": 0.25}
    cfg = TextConfig.model_validate({"data": data, "space": space, "method": method, "search": recipe})
    prepare(cfg.data, tmp_path / "prepared")
    prepared = open_text(tmp_path / "prepared")
    found = search.search_cell(cfg, prepared, SimpleNamespace(device=torch.device("cpu"), progress="off"))
    losses = [row["valid_loss"] for row in found.history]
    assert found.chosen == losses.index(min(losses))
    assert losses == [pytest.approx(np.log(row["valid_ppl"])) for row in found.history]
    assert len(set(losses)) == 3
    build_space(cfg).check(found.genotype)


def test_what_asks_for_a_supernet_is_refused(prepared):
    with pytest.raises(ValueError, match=r"search\.rank_samples must be 0 with method\.shared_weights: false, which has no supernet"):
        run(config(search={"rank_samples": 5, "rank_truth": 1}), prepared)
    faults = cross_check(config(search={"hessian_every": 1}), only_search=True)
    assert faults == ["search.hessian_every must be 0 with a method that never moves alpha. Got 1."]
    loader = [(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]))]
    own = {"space": {"name": "nasbench201", "init_channels": 4, "layers": 3}, "method": {"name": "random_search", "shared_weights": False}}
    with pytest.raises(ValueError, match=r"method\.shared_weights must be true here"):
        search_architecture(loader, loader, own, verbose=False)
