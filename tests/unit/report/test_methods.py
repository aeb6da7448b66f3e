"""Methods times seeds as a table."""

import csv

import pytest

from darts_core.report.methods import Outcome, by_method, methods_markdown, methods_text, save_methods


def outcome(method, seed, accuracy, **more):
    return Outcome(method=method, seed=seed, accuracy=accuracy, seconds=10.0 + seed, **more)


RUNS = [
    outcome("gdas", 0, 84.0),
    outcome("gdas", 1, 88.0),
    outcome("gdas", 2, 86.0),
    outcome("random_search", 0, 83.0),
    outcome("random_search", 1, 84.0),
    outcome("alone", 7, 50.0),
]


def test_differences_are_paired_over_the_seeds_that_both_have():
    gdas, random, alone = by_method(RUNS)
    assert (gdas.method, gdas.seeds, gdas.accuracy, gdas.deviation, gdas.seconds) == ("gdas", (0, 1, 2), 86.0, 2.0, 11.0)
    assert (gdas.less_random, gdas.pairs) == (2.5, 2)  # 1 and 4; seed 2 has no partner
    assert gdas.interval == pytest.approx((2.5 - 12.7062 * 1.5, 2.5 + 12.7062 * 1.5), rel=1e-5)
    assert (random.less_random, random.interval) == (None, None)
    assert (alone.deviation, alone.less_random) == (None, None)


def test_the_tables_say_so(tmp_path):
    text = methods_text(by_method(RUNS))
    assert " ".join(text.splitlines()[0].split()) == "method runs accuracy deviation less random search 95 % seconds"
    assert "+2.50 (2 of 3)  -16.56 to +21.56" in text
    assert "| gdas | 3 | 86.00 | 2.00 | +2.50 (2 of 3) | -16.56 to +21.56 | 11 |" in methods_markdown(by_method(RUNS))
    save_methods(RUNS, tmp_path)
    rows = list(csv.DictReader((tmp_path / "methods.csv").read_text().splitlines()))
    assert [row["seeds"] for row in rows] == ["0 1 2", "0 1", "7"]
    assert float(rows[0]["low"]) == pytest.approx(-16.559, abs=1e-3)
    assert [(row["less_random"], row["pairs"]) for row in rows] == [("2.5", "2"), ("", "0"), ("", "0")]
    assert "(" not in methods_text(by_method(RUNS[:2] + RUNS[3:5])), "every run has a partner"
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 1 + len(RUNS)
    assert "Student's" in (tmp_path / "methods.md").read_text()


def test_percentiles_are_shown_where_they_are_known():
    assert "percentile" not in methods_text(by_method(RUNS))
    assert "97.5" in methods_text(by_method([outcome("gdas", 0, 84.0, percentile=97.0), outcome("gdas", 1, 84.0, percentile=98.0)]))


def test_of_several_random_searches_the_one_without_settings_is_what_all_are_held_against():
    accuracies = {"random_search": 71.0, "darts": 80.0, "random_search:samples=2": 91.0}
    outcomes = [Outcome(method=name, seed=0, accuracy=value, seconds=1.0) for name, value in accuracies.items()]
    assert [score.less_random for score in by_method(outcomes)] == [None, pytest.approx(9.0), pytest.approx(20.0)]
    assert [score.less_random for score in by_method(outcomes[1:])] == [pytest.approx(-11.0), None]
