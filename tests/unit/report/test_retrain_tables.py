"""The retraining's tables have the columns that dvc.yaml plots, with validation images or without."""

from pathlib import Path

import pandas as pd
import yaml

from darts_core.engine.training import Trained
from darts_core.report.retrain import save_tables


def test_without_validation_images_the_columns_are_there_and_hold_no_number(tmp_path):
    row = {"epoch": 1, "train_loss": 1.0, "train_acc": 50.0, "lr": 0.1}
    one = Trained(last={}, best={}, best_epoch=1, history=[row], costs=[{"epoch": 1, "epoch_s": 1.0}])
    save_tables({"searched": one, "random_0": one}, tmp_path)
    for name in ("history", "random_0"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert list(table.columns) == [*row, "valid_loss", "valid_acc"]
        assert table[["valid_loss", "valid_acc"]].isna().all(axis=None)
        assert (tmp_path / f"{name}.csv").read_text().endswith(",nan,nan\n"), "dvc plots draws an empty field as zero"
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == ["accuracy.csv", "loss.csv"]
    assert (tmp_path / "curves" / "accuracy.csv").read_text() == "epoch,train,valid\n1,50.0,nan\n"


def test_every_kind_of_network_has_the_columns_that_dvc_plots(tmp_path):
    row = {"epoch": 1, "train_loss": 2.0, "train_ppl": 7.4, "lr": 0.1, "valid_loss": 2.1, "valid_ppl": 8.2}
    save_tables({"searched": Trained(last={}, best={}, best_epoch=1, history=[row], costs=[{"epoch": 1, "epoch_s": 1.0}])}, tmp_path)
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == ["loss.csv", "perplexity.csv"]
    assert (tmp_path / "curves" / "perplexity.csv").read_text() == "epoch,train,valid\n1,7.4,8.2\n"
    plots = yaml.safe_load((Path(__file__).parents[3] / "dvc.yaml").read_text())["plots"]
    assert {"reports/retrain/curves": {"x": "epoch", "y": ["train", "valid"]}} in plots
