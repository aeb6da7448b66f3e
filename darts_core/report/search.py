"""The search's tables and pictures: its history, and the weights of the operations epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from darts_core.report.alphas import plot_curves, plot_heatmap, wide
from darts_core.report.curves import phase_starts
from darts_core.report.history import STEPS, plot_history, step_of
from darts_core.report.rank_disorder import plot_rank_disorder

Rows = Sequence[Mapping[str, Any]]
ALPHA_COLUMNS = ("epoch", "cell", "edge", "op", "weight")
HISTORY_COLUMNS = (*STEPS, "train_loss", "train_acc", "arch_loss", "valid_loss", "valid_acc", "lr")
RANK_COLUMNS = ("architecture", "epoch", "supernet_acc", "own_acc")
HEATMAPS = 5
QUANTITIES = {"accuracy": "acc", "perplexity": "ppl"}
PLOTTED = {"epoch": "curves", "architecture": "architectures"}  # what a row is of -> the folder that `dvc plots show` has
ALPHAS = "alphas"  # the folder of the pictures that `dvc plots show` has


def save_tables(history: Rows, alphas: Rows, costs: Rows, folder: Path, *, ranks: Rows = ()) -> None:
    """Write history.csv (a row an epoch), alphas.csv (long), alphas_<cell>.csv (a column an operation) and epochs_resources.csv.

    Where each row is of an architecture, the column ``architecture`` stands in the place of ``epoch``, in both. For ``dvc plots``
    there are folders: ``curves/<quantity>.csv``, of architectures ``architectures/<quantity>.csv``, has that column, train and valid.

    And the folder in which :func:`draw_search` draws the mean weights. ``ranks`` go to rank_disorder.csv, a row for each architecture and
    epoch in which the supernet was asked. Without rows the tables are headers alone: no search ran.
    """
    table = pd.DataFrame(history) if history else pd.DataFrame(columns=[each for each in HISTORY_COLUMNS if each != "architecture"])
    first = [column for column in HISTORY_COLUMNS if column in table]
    table = table[[*first, *(column for column in table if column not in HISTORY_COLUMNS)]]
    table[[column for column in table.columns if not column.startswith("alpha_")]].to_csv(folder / "history.csv", index=False)
    _save_plotted(table, folder)
    frame = pd.DataFrame(alphas, columns=list(ALPHA_COLUMNS))
    frame.to_csv(folder / "alphas.csv", index=False)
    (folder / ALPHAS).mkdir(exist_ok=True)
    for cell_type in frame["cell"].unique():
        wide(frame, cell_type).to_csv(folder / f"alphas_{cell_type}.csv", index=False)
    (pd.DataFrame(costs) if costs else pd.DataFrame(columns=["epoch", "epoch_s"])).to_csv(folder / "epochs_resources.csv", index=False)
    if ranks:
        pd.DataFrame(ranks)[list(RANK_COLUMNS)].to_csv(folder / "rank_disorder.csv", index=False)


def _save_plotted(table: pd.DataFrame, folder: Path) -> None:
    for step, name in PLOTTED.items():
        (folder / name).mkdir(exist_ok=True)
        for quantity, suffix in QUANTITIES.items():
            columns = {step: step, f"train_{suffix}": "train", f"valid_{suffix}": "valid"}
            if {*columns} <= {*table}:
                table[list(columns)].rename(columns=columns).to_csv(folder / name / f"{quantity}.csv", index=False, na_rep="nan")


def draw_search(history: Rows, alphas: Rows, folder: Path, *, ranks: Rows = (), chosen: int | None = None) -> None:
    """Draw the history, each cell's mean weights, and heatmaps of at most five epochs (``alpha_<cell>_epoch_<n>.png``).

    With ``ranks``, draw the rank disorder, too. ``chosen`` is the row of the history that is marked, where rows are of architectures.
    """
    table = pd.DataFrame(history)
    plot_history(table, folder / "history.png", title="Search", chosen=chosen if step_of(table) == "architecture" else None)
    if ranks:
        plot_rank_disorder(table, pd.DataFrame(ranks), folder / "rank_disorder.png")
    frame = pd.DataFrame(alphas, columns=list(ALPHA_COLUMNS))
    epochs = sorted(frame["epoch"].unique())
    apart = -(-len(epochs) // HEATMAPS)
    for cell_type in frame["cell"].unique():
        plot_curves(frame, cell_type, folder / ALPHAS / f"alphas_{cell_type}.png", phases=phase_starts(table))
        for epoch in epochs[::-1][::apart]:
            plot_heatmap(frame, cell_type, int(epoch), folder / f"alpha_{cell_type}_epoch_{int(epoch):04d}.png")
