"""The retraining's tables and pictures: one history a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from darts_core.engine.lineup import SEARCHED
from darts_core.engine.training import Trained
from darts_core.report.history import plot_histories, plot_history

CURVES = {"accuracy": "acc", "loss": "loss", "perplexity": "ppl"}

VALID_COLUMNS = {"train_acc": ("valid_loss", "valid_acc")}  # where there are those, these are plotted


def save_tables(trained: Mapping[str, Trained], folder: Path) -> None:
    """Write history.csv, curves/ and epochs_resources.csv of the searched network, and ``<network>.csv`` of every other one.

    ``curves/<quantity>.csv`` has an epoch, a train and a valid column whatever the quantity, for ``dvc plots``: images have an accuracy and
    texts a perplexity.

    Without validation images the columns of their loss and accuracy are there and hold "nan", for the plots that dvc.yaml asks for: they
    would draw an empty field as zero.
    """
    for name, one in trained.items():
        table = pd.DataFrame(one.history)
        absent = [column for own in VALID_COLUMNS if own in table for column in VALID_COLUMNS[own] if column not in table]
        table = table.reindex(columns=[*table.columns, *absent])
        table.to_csv(folder / ("history.csv" if name == SEARCHED else f"{name}.csv"), index=False, na_rep="nan")
        if name == SEARCHED:
            _save_curves(table, folder / "curves")
    pd.DataFrame(trained[SEARCHED].costs).to_csv(folder / "epochs_resources.csv", index=False)


def _save_curves(table: pd.DataFrame, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for quantity, suffix in CURVES.items():
        columns = {f"train_{suffix}": "train", f"valid_{suffix}": "valid"}
        if f"train_{suffix}" in table:
            table[["epoch", *columns]].rename(columns=columns).to_csv(folder / f"{quantity}.csv", index=False, na_rep="nan")


def draw_retraining(trained: Mapping[str, Trained], folder: Path) -> None:
    """Draw the searched network's history, and what all networks reached over their epochs."""
    histories = {name: pd.DataFrame(one.history) for name, one in trained.items()}
    plot_history(histories[SEARCHED], folder / "history.png", title="Retraining")
    column = next(column for column in ("valid_ppl", "valid_acc", "train_acc") if column in histories[SEARCHED])
    plot_histories(histories, folder / "networks.png", title="All networks, one recipe", column=column)
