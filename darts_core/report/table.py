"""Tables as text: the comparison of the networks for a tracker's note and for a terminal, and what a genotype is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from darts_core.genotype import Genotype
from darts_core.report.style import shorten

TERMINAL_WIDTH = 100
COMPARISON_NOTE = "95 % Wilson: score interval. p-value: exact McNemar test against the searched network."
LANGUAGE_NOTE = (
    "95 %: bootstrap over windows of the text; how far another seed's training would end from this one, it cannot tell. "
    "ratio: perplexity by the searched network's, with its paired interval."
)
Columns = Sequence[tuple[str, Callable[[Any], str]]]
IMAGE_COLUMNS: Columns = (
    ("test acc. %", lambda row: f"{row.top1:.2f}"),
    ("95 % Wilson", lambda row: f"{row.low:.2f} to {row.high:.2f}"),
    ("top-5 %", lambda row: "" if row.top5 is None else f"{row.top5:.2f}"),
    ("less searched", lambda row: "" if row.minus_searched is None else f"{row.minus_searched:+.2f}"),
    ("p-value", lambda row: "" if row.mcnemar_p is None else f"{row.mcnemar_p:.3f}" if row.mcnemar_p >= 0.001 else "<0.001"),
    ("ECE", lambda row: f"{row.ece:.2f}"),
    ("params M", lambda row: f"{row.params_m:.3f}"),
    ("MACs M", lambda row: f"{row.macs_m:.1f}"),
)


LANGUAGE_COLUMNS: Columns = (
    ("test ppl", lambda row: f"{row.test_ppl:.2f}"),
    ("95 %", lambda row: f"{row.low:.2f} to {row.high:.2f}"),
    ("ratio", lambda row: "" if row.ratio is None else f"{row.ratio:.3f} ({row.ratio_low:.3f} to {row.ratio_high:.3f})"),
    ("valid ppl", lambda row: f"{row.valid_ppl:.2f}"),
    ("bits/char", lambda row: f"{row.test_bpc:.3f}"),
    ("params M", lambda row: f"{row.params_m:.3f}"),
)


def language_note(unknown_percent: float, rolled_back: Mapping[str, Sequence[int]] | None = None) -> str:
    """Return what is said below the table, ``unknown_percent`` of the test text's tokens being ``<unk>``.

    ``rolled_back`` has by network the epochs of its training whose loss was no number.
    """
    parts = [LANGUAGE_NOTE]
    if unknown_percent:
        unknown = f"{unknown_percent:.1f} %" if unknown_percent >= 0.05 else "Less than 0.1 %"
        parts.append(
            f"{unknown} of the test tokens are <unk>: a model pays for the one token, and bits/char divides by all characters "
            "that it stands for, so both are lower than with the words themselves."
        )
    if back := {name: epochs for name, epochs in (rolled_back or {}).items() if epochs}:
        told = "; ".join(f"{name} in epoch {', '.join(map(str, epochs))}" for name, epochs in back.items())
        parts.append(
            f"Their loss was no number, and they were set back to the best epoch before: {told}. For a fair comparison lower retrain.lr."
        )
    return " ".join(parts)


def comparison_markdown(scores: Sequence[Any], columns: Columns = IMAGE_COLUMNS) -> str:
    """Return the comparison as a Markdown table, a row a network; of the ``columns`` those that no network fills are left out."""
    header, rows = _cells(scores, columns)
    return markdown_table(["network", *header], [[row.name, *cells] for row, cells in zip(scores, rows)])


def comparison_text(scores: Sequence[Any], columns: Columns = IMAGE_COLUMNS) -> str:
    """Return the comparison as aligned lines of at most 100 characters; long names are cut."""
    header, rows = _cells(scores, columns)
    return text_table(["network", *header], [[row.name, *cells] for row, cells in zip(scores, rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is to the left and all others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join([_escaped(row[0]), *row[1:]]) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the same as aligned lines of at most 100 characters; what stands in the first column is cut to that."""
    widths = [max(len(cells[k]) for cells in [header, *rows]) for k in range(1, len(header))]
    room = TERMINAL_WIDTH - sum(width + 2 for width in widths)
    names = [shorten(row[0], room) for row in rows]
    first = max(len(header[0]), *(len(name) for name in names))

    def line(name: str, cells: Sequence[str]) -> str:
        return name.ljust(first) + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths))

    ruler = "-" * (first + sum(width + 2 for width in widths))
    return "\n".join([line(header[0], header[1:]), ruler, *(line(name, row[1:]) for name, row in zip(names, rows))]) + "\n"


def operation_counts(genotype: Genotype) -> pd.DataFrame:
    """Return how often each operation occurs: the column op, one for each cell type, and total; the most frequent one first."""
    ops = {cell_type: [edge.op for _, edge in cell.edges] for cell_type, cell in genotype.cells.items()}
    known = dict.fromkeys(op for found in ops.values() for op in found)
    frame = pd.DataFrame([{"op": op, **{cell_type: found.count(op) for cell_type, found in ops.items()}} for op in known])
    frame["total"] = frame[list(ops)].sum(axis=1)
    return frame.sort_values(["total", "op"], ascending=[False, True], ignore_index=True)


def _cells(scores: Sequence[Any], columns: Columns) -> tuple[list[str], list[list[str]]]:
    """The headings in use, and a list of texts for each network; what a network lacks is a dash."""
    filled = [(heading, [text(row) for row in scores]) for heading, text in columns]
    filled = [(heading, texts) for heading, texts in filled if any(texts)]
    return [heading for heading, _ in filled], [[texts[k] or "-" for _, texts in filled] for k in range(len(scores))]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
