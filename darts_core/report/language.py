"""What the test text said, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darts_core.engine.language_evaluation import LanguageScores
from darts_core.report.marks import Mark, plot_marks


def plot_perplexities(scores: Sequence[LanguageScores], path: str | Path) -> Path:
    """Draw each network's test perplexity with its 95 % interval, the first one in colour; return ``path``."""
    rows = [Mark(row.name, row.test_ppl, row.low, row.high, f"{row.test_ppl:.2f}", f"{row.params_m:.3g} M parameters") for row in scores]
    low, high = min(row.low for row in scores), max(row.high for row in scores)
    margin = max(0.12 * (high - low), 0.01 * high)
    return plot_marks(
        rows,
        path,
        title="Test perplexity",
        note="lower is better; with the 95 % bootstrap interval over windows of the test text",
        label="test perplexity",
        limits=(max(low - margin, 0.0), high + margin),
    )
