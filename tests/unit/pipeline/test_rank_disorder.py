"""The architectures of the probe and what they are worth: by a table's validation accuracies, or by training on the search's own images."""

import numpy as np
import pytest
import torch
from PIL import Image

from darts_core.config import Config
from darts_core.data import open_prepared, prepare
from darts_core.engine.retrain import Trainer
from darts_core.pipeline import rank_disorder
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.session import start


@pytest.fixture
def prepared(tmp_path):
    """Images of 8x8 pixels in two classes, one after the other, bright and dark."""
    for k, kind in enumerate(("cat", "dog")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(np.full((8, 8, 3), 40 + 150 * k + i, dtype=np.uint8)).save(tmp_path / "photos" / kind / f"{i}.png")
    data = {"name": "image_folder", "root": str(tmp_path / "photos"), "valid_fraction": 0.0}
    prepare(config(data=data).data, tmp_path / "prepared")
    return open_prepared(tmp_path / "prepared")


def config(**sections):
    space = {"name": "nasbench201", "init_channels": 2, "layers": 3, "nodes": 2}
    return Config.model_validate({"data": {"name": "digits"}, "space": space, **sections})


def probe(cfg, prepared, **options):
    return rank_disorder.rank_probe(cfg, prepared, start(cfg.runtime, seed=0), **options)


def test_nothing_is_drawn_unless_it_is_asked_for(prepared):
    assert probe(config(), prepared) is None


def test_a_table_tells_validation_accuracies(prepared, tmp_path):
    ops = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    rows = "".join(f"|{op}~0|,{10 * k + 5},1\n" for k, op in enumerate(ops))
    (tmp_path / "table.csv").write_text(f"arch,val_accuracy,test_accuracy\n{rows}")
    found = probe(config(search={"batch_size": 5, "rank_samples": 5, "rank_truth": str(tmp_path / "table.csv")}), prepared)
    assert sorted(found.names) == sorted(f"|{op}~0|" for op in ops)
    assert dict(zip(found.names, found.own_accs))["|nor_conv_1x1~0|"] == 25.0
    assert len(set(found.batches[0][1].tolist())) == 2  # the split lies class by class; BatchNorm must not see one class alone


def test_training_tells_them_and_goes_on_where_it_ended(prepared, tmp_path):
    cfg = config(search={"batch_size": 4, "lr": 0.1, "rank_samples": 5, "rank_truth": 5})
    with Checkpoint("search", {}, root=tmp_path) as checkpoint:
        found = probe(cfg, prepared, checkpoint=checkpoint)
        assert {path.stem for path in checkpoint.folder.glob("rank_*.pt")} == {f"rank_{k}" for k in range(5)}
        assert probe(cfg, prepared, checkpoint=checkpoint).own_accs == found.own_accs
    assert all(0.0 <= accuracy <= 100.0 for accuracy in found.own_accs)
    assert max(found.own_accs) > 60.0


def test_what_diverges_comes_last_and_the_others_are_asked_all_the_same(prepared, monkeypatch, caplog):
    cfg = config(search={"batch_size": 4, "lr": 0.1, "rank_samples": 5, "rank_truth": 2})
    expected, build = probe(cfg, prepared).own_accs, rank_disorder.ShortTraining

    def trainer(*args, **options):
        train, step = build(*args, **options), Trainer.step

        def one(genotype, number):
            with monkeypatch.context() as patch:
                if number == 2:
                    patch.setattr(Trainer, "step", lambda own, *batch: (torch.tensor(float("nan")), step(own, *batch)[1]))
                return train(genotype, number)

        return one

    monkeypatch.setattr(rank_disorder, "ShortTraining", trainer)
    assert probe(cfg, prepared).own_accs == [*expected[:2], 0.0, *expected[3:]]
    assert "rank_2 for the rank disorder comes last. The loss of epoch 1 is nan" in caplog.text
