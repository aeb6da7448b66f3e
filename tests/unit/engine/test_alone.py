"""Architectures that are trained alone: by what the best of them, and those of a next round, are chosen."""

from types import SimpleNamespace

import pytest
import torch

from darts_core.engine.alone import search_alone
from darts_core.engine.rank_disorder import draw_distinct
from darts_core.methods import METHODS
from darts_core.spaces import SPACES

VALID_ACC = [50.0, 60.0, 70.0, 80.0, 55.0, 65.0]
TRAIN_LOSS = [0.1, 0.9, 0.5, 0.7, 0.2, 0.3]
ROUNDS = [(6, 1), (3, 2)]


def found(**options):
    """The search's result where an architecture's figures are those above, and in the second round the other way round."""
    space = SPACES.build("nasbench201", {})
    drawn = draw_distinct(space, 6, generator=torch.Generator().manual_seed(3))

    def train(epochs):
        def alone(genotype, number):
            place, sign = drawn.index(genotype), 1 if epochs == 1 else -1
            row = {"train_loss": 2 + sign * TRAIN_LOSS[place], "valid_loss": 1.0, "valid_acc": 100 * (sign < 0) + sign * VALID_ACC[place]}
            return SimpleNamespace(history=[row], costs=[{"epoch_s": 1.0, "data_percent": 0.0}])

        return alone

    method = METHODS.build("random_search", {"shared_weights": False})
    result = search_alone(method, space=space, rounds=ROUNDS, train=train, generator=torch.Generator().manual_seed(3), **options)
    assert result.genotype.cells == drawn[result.history[result.chosen]["architecture"] - 1].cells
    return [row["architecture"] for row in result.history[6:]], result.history[result.chosen]["architecture"]


@pytest.mark.parametrize(
    ("options", "second_round", "best"),
    [
        ({}, [4, 3, 6], 6),
        ({"rank_by": "validation"}, [4, 3, 6], 6),
        ({"rank_by": "training_speed"}, [1, 5, 6], 6),
    ],
)
def test_every_round_is_ranked_by_the_held_out_accuracy_or_by_the_training_loss(options, second_round, best, caplog):
    with caplog.at_level("INFO"):
        assert found(**options) == (second_round, best)
    where = "by its training loss" if options.get("rank_by") == "training_speed" else "on held-out data"
    assert f"architecture {best} of 6 is the best {where}, each trained alone" in caplog.text
