from darts_core.engine.evaluation import NetworkScores
from darts_core.genotype import published
from darts_core.report.table import comparison_markdown, comparison_text, operation_counts


def row(name, top1, *, top5=99.9, minus=None, p=None):
    return NetworkScores(
        name=name,
        top1=top1,
        low=top1 - 1,
        high=top1 + 0.5,
        bootstrap_low=top1 - 0.5,
        bootstrap_high=top1 + 0.25,
        top5=top5,
        ece=0.83,
        nll=0.05,
        params_m=0.1318,
        macs_m=1214.52,
        minus_searched=minus,
        minus_searched_low=None,
        minus_searched_high=None,
        mcnemar_p=p,
    )


ROWS = [row("searched", 99.44), row("random_0", 99.17, minus=-0.27, p=0.0625), row("a|b", 97.0, minus=0.5, p=1e-9)]


def test_markdown_has_a_row_a_network_and_as_many_cells_as_headings():
    lines = comparison_markdown(ROWS).splitlines()
    assert lines[0].startswith("| network | test acc. % | 95 % Wilson |")
    assert len(lines) == 2 + len(ROWS)
    assert {line.replace("\\|", "").count("|") for line in lines} == {10}
    assert lines[2] == "| searched | 99.44 | 98.44 to 99.94 | 99.90 | - | - | 0.83 | 0.132 | 1214.5 |"
    assert "| -0.27 | 0.062 |" in lines[3]
    assert lines[4].startswith("| a\\|b |")
    assert "| <0.001 |" in lines[4]


def test_columns_that_nobody_fills_are_left_out():
    text = comparison_markdown([row("searched", 90.0, top5=None)])
    assert "top-5" not in text
    assert "less searched" not in text
    assert "p-value" not in text


def test_the_terminal_table_is_aligned_and_fits():
    mobile = row("mobilenet_v2", 99.5, minus=0.06, p=1.0)  # up to 100.00, the widest cell, and its name still whole
    text = comparison_text([*ROWS, mobile, row("a_network_whose_name_is_far_too_long_for_a_terminal", 9.5, minus=-89.94, p=1e-9)])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert len({len(line) for line in lines}) == 1
    ends = [line.index(number) + len(number) for line, number in zip([lines[2], lines[-1]], ["99.44", "9.50"])]
    assert ends[0] == ends[1] == lines[0].index("test acc. %") + len("test acc. %")
    assert "\u2026" in lines[-1]
    assert "mobilenet_v2" in text


def test_operations_are_counted_in_both_cells():
    counts = operation_counts(published("DARTS_V2"))
    assert counts.to_dict("list") == {
        "op": ["max_pool_3x3", "sep_conv_3x3", "skip_connect", "dil_conv_3x3"],
        "normal": [0, 5, 2, 1],
        "reduce": [5, 0, 3, 0],
        "total": [5, 5, 5, 1],
    }
