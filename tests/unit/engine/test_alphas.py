import math

import pytest
import torch

from darts_core.engine.alphas import alpha_rows, mixture_metrics

MIXTURE = {
    "normal": torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),
    "reduce": torch.tensor([[0.25, 0.25, 0.5], [0.25, 0.25, 0.5]]),
}
PRIMITIVES = ("none", "skip_connect", "sep_conv_3x3")


def test_the_long_table_has_a_row_for_each_weight():
    rows = alpha_rows(3, MIXTURE, ["0-2", "1-2"], PRIMITIVES)
    assert len(rows) == 12
    assert rows[1] == {"epoch": 3, "cell": "normal", "edge": "0-2", "op": "skip_connect", "weight": 0.5}
    assert rows[-1] == {"epoch": 3, "cell": "reduce", "edge": "1-2", "op": "sep_conv_3x3", "weight": 0.5}


def test_means_entropies_and_the_share_of_skips():
    metrics = mixture_metrics(MIXTURE, PRIMITIVES)
    assert metrics["alpha_normal/none"] == 0.75
    assert metrics["alpha_normal/skip_connect"] == 0.25
    assert metrics["alpha_reduce/sep_conv_3x3"] == 0.5
    assert metrics["entropy_normal"] == pytest.approx(math.log(2.0) / 2.0)
    assert metrics["entropy_reduce"] == pytest.approx(0.5 * math.log(4.0) + 0.5 * math.log(2.0))
    assert metrics["skip_share"] == pytest.approx(0.25)


def test_a_space_without_skips_has_no_share_of_them():
    assert "skip_share" not in mixture_metrics(MIXTURE, ("none", "max_pool_3x3", "sep_conv_3x3"))


def test_entropy_lies_between_certainty_and_all_alike():
    uniform = mixture_metrics({"normal": torch.full((2, 8), 0.125)}, [str(k) for k in range(8)])
    assert uniform["entropy_normal"] == pytest.approx(math.log(8.0))
