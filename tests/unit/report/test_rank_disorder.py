import numpy as np
import pandas as pd
import pytest

from darts_core.report.rank_disorder import plot_rank_disorder


def tables(epochs):
    rng = np.random.default_rng(0)
    history = pd.DataFrame({"epoch": range(1, epochs + 1)})
    for key, height in (("tau", 0.3), ("rho", 0.5)):
        history[f"rank_{key}"] = height
        history[f"rank_{key}_low"], history[f"rank_{key}_high"] = height - 0.2, height + 0.2
    own = rng.normal(76, 8, 12)
    ranks = pd.concat([pd.DataFrame({"epoch": e, "supernet_acc": own / 2 + e, "own_acc": own}) for e in history["epoch"]])
    return history, ranks


@pytest.mark.parametrize("epochs", [1, 6])
def test_correlation_and_the_last_comparison(epochs, tmp_path, figures, is_readable):
    history, ranks = tables(epochs)
    plot_rank_disorder(history, ranks, tmp_path / "rank.png")
    texts = is_readable()
    assert {"Kendall's tau", "Spearman's rho", f"Epoch {epochs}"} <= set(texts)
    over_epochs, compared = figures[0].axes
    assert over_epochs.get_ylim() == (-1.0, 1.0)
    assert compared.lines[0].get_xdata() == pytest.approx(ranks[ranks["epoch"] == epochs]["supernet_acc"])


def test_epochs_that_were_not_looked_at_leave_no_gap_in_the_curve(tmp_path, figures):
    history, ranks = tables(6)
    history.loc[history["epoch"] % 2 == 1, [c for c in history if c.startswith("rank")]] = np.nan
    plot_rank_disorder(history, ranks[ranks["epoch"] % 2 == 0], tmp_path / "rank.png")
    assert next(line.get_xdata().tolist() for line in figures[0].axes[0].lines if len(line.get_xdata()) == 3) == [2.0, 4.0, 6.0]


def test_a_missing_column_is_named(tmp_path):
    history, ranks = tables(2)
    with pytest.raises(ValueError, match="ranks with the columns epoch, supernet_acc, own_acc expected"):
        plot_rank_disorder(history, ranks.drop(columns="own_acc"), tmp_path / "rank.png")
