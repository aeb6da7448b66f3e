"""Power laws, and the figure of costs against sizes; the benchmark that fills both, on the smallest supernets."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from darts_core.report.growth import plot_growth, power_law, straight_line

PANELS = {"seconds of a step": {"seconds": "seconds"}, "MiB of a pass": {"peak_mib": "peak", "saved_mib": "saved"}}
BASE = {"batch": 16, "channels": 16, "cells": 6, "nodes": 3}


def table(values=None):
    exponents = {"batch": 1.0, "channels": 1.5, "cells": 0.9, "nodes": 1.4}
    values = values or {"batch": [8, 16, 32, 64], "channels": [8, 16, 32], "cells": [3, 6, 12, 24], "nodes": [2, 3, 4]}
    rows = []
    for axis, sizes in values.items():
        for size in sizes:
            factor = (size / BASE[axis]) ** exponents[axis]
            rows.append({"axis": axis, "value": size, "seconds": 0.8 * factor, "saved_mib": 60 * factor, "peak_mib": 75 * factor})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 1.7])
def test_a_power_law_is_found_again(exponent):
    x = [2.0, 3.0, 7.0, 40.0]
    law = power_law(x, [5.0 * value**exponent for value in x])
    assert (law.exponent, law.factor, law.residual) == (
        pytest.approx(exponent, abs=1e-12),
        pytest.approx(5.0),
        pytest.approx(0.0, abs=1e-9),
    )


def test_the_residual_is_the_relative_error_of_the_fit():
    """Twice a tenth too much and twice a tenth too little, so placed that the slope stays."""
    law = power_law([1.0, 2.0, 4.0, 8.0], [1.1 * 3, 2.0 / 1.1 * 3, 4.0 / 1.1 * 3, 8.0 * 1.1 * 3])
    assert law.exponent == pytest.approx(1.0)
    assert law.factor == pytest.approx(3.0)
    assert law.residual == pytest.approx(0.1)


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0]), ([2.0, 2.0], [1.0, 1.0]), ([1.0, 2.0], [0.0, 1.0]), ([1.0, 2.0], [1.0])])
def test_what_has_no_law_is_an_error(x, y):
    with pytest.raises(ValueError, match="A power law needs two or more different sizes and positive values"):
        power_law(x, y)


def test_every_cost_against_every_size(tmp_path, figures, is_readable):
    plot_growth(table(), tmp_path / "growth.png", panels=PANELS, title="Growth", note="one core", base=BASE)
    texts = is_readable()
    assert {"Growth", "one core", *BASE, "seconds of a step", "MiB of a pass"} <= set(texts)
    assert [texts.count(f"{name}, exponent 1.50") for name in ("seconds", "peak", "saved")] == [1, 1, 1]
    axes = figures[0].axes
    assert len(axes) == 8
    assert len({a.get_ylim() for a in axes[:4]}) == len({a.get_ylim() for a in axes[4:]}) == 1, "slopes compare within a row"
    assert axes[1].get_xticks().tolist() == [8, 16, 32]
    points = [line.get_ydata().tolist() for line in axes[4].lines if line.get_marker() == "o"]
    assert points == [pytest.approx([37.5, 75, 150, 300]), pytest.approx([30, 60, 120, 240])]


def test_a_size_of_one_value_has_no_exponent(tmp_path, figures, is_readable):
    plot_growth(table({"batch": [8, 16], "cells": [6]}), tmp_path / "growth.png", panels=PANELS, title="Growth", base=BASE)
    texts = is_readable()
    assert "seconds" in texts
    assert "seconds, exponent 1.00" in texts


def test_a_cost_of_nothing_is_left_out(tmp_path, figures, is_readable):
    frame = table()
    frame.loc[0, "saved_mib"] = 0.0
    plot_growth(frame, tmp_path / "growth.png", panels=PANELS, title="Growth", base=BASE)
    is_readable()
    saved = [line for line in figures[0].axes[4].lines if line.get_marker() == "o"][1]
    assert saved.get_xdata().tolist() == [16, 32, 64]


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"Growth: the columns axis, value, seconds, peak_mib, saved_mib expected. Missing peak_mib."):
        plot_growth(table().drop(columns="peak_mib"), tmp_path / "growth.png", panels=PANELS, title="Growth", base=BASE)


def test_the_benchmark_writes_tables_and_figure(tmp_path):
    sizes = {"base": "16 4 3 1", "batch": "32", "channels": "", "cells": "", "nodes": "", "pixels": "16", "rounds": "1", "backend": "eager"}
    options = [part for name, text in sizes.items() for part in (f"--{name}", *text.split())]
    command = [sys.executable, "-m", "benchmarks.growth", "--json", "--out", str(tmp_path / "growth"), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    found = json.loads(done.stdout)
    assert found["machine"]["backend"] == "eager"
    frame = pd.read_csv(tmp_path / "growth" / "growth.csv")
    assert frame[["axis", "value"]].to_numpy().tolist() == [["batch", 16], ["batch", 32], ["channels", 4], ["cells", 3], ["nodes", 1]]
    assert (frame[["seconds", "saved_mib", "gmac"]] > 0).all(axis=None)
    assert frame.loc[2:, "seconds"].nunique() == 1, "the base is measured once"
    assert set(frame["edges"]) == {2}
    fits = pd.read_csv(tmp_path / "growth" / "fits.csv")
    assert fits["axis"].unique().tolist() == ["batch"], "no law for an axis of one value"
    exponents = dict(zip(fits["cost"], fits["exponent"]))
    assert exponents["gmac"] == pytest.approx(1.0)
    assert len(found["rows"]) == len(frame)
    assert (tmp_path / "growth" / "growth.png").stat().st_size > 0


def test_a_straight_line_with_what_is_there_at_zero():
    line = straight_line([1, 2, 4], [5.0, 7.0, 11.0])
    assert (line.offset, line.slope, line.r_squared) == pytest.approx((3.0, 2.0, 1.0))
    assert straight_line([1, 2, 3], [1.0, 2.0, 1.0]).r_squared == pytest.approx(0.0)
    assert straight_line([1, 2], [4.0, 4.0]).r_squared == 1.0


def test_a_straight_line_needs_two_sizes():
    with pytest.raises(ValueError, match="two or more different sizes"):
        straight_line([2, 2], [1.0, 2.0])
