"""Random search, with shared weights or without."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.bilevel import Still
from darts_core.search.method import Method
from darts_core.search.ranges import at_least
from darts_core.search.select import BestOfRandom, TrainedAlone
from darts_core.search.uniform import Uniform


@METHODS.register("random_search")
def random_search(
    *,
    shared_weights: bool = True,
    samples: int = 100,
    score_batches: int | None = None,
    train_epochs: int | None = None,
    halving: int | None = None,
    rank_by: Literal["validation", "training_speed"] | None = None,
) -> Method:
    """Random search (Li and Talwalkar, UAI 2019, arXiv:1902.07638), with shared weights or without: what a search must beat.

    Each batch trains one random architecture of the space, drawn as ``samples`` of them are after the last epoch, of which the best is
    taken by accuracy (of a text by loss) on ``score_batches`` (null: 8) validation batches with the shared weights and the batches' own
    statistics. Weights of what is not drawn stand still, but for one thing: where no edge offers ``none``, an edge that is not read
    counts 0 times its skip connection, whose weights, where it halves, go on by momentum and decay. The log has equal weights, for nothing
    is preferred; the held-out loss of an epoch is that of all operations and edges together, each by its chance.

    Without ``shared_weights`` there is no supernet: ``samples`` different architectures, of the supernet's size, are trained one by one
    from scratch for ``train_epochs`` (null: search.epochs) on the images for the weights, and the best in its last epoch is taken:
    ``rank_by: validation`` (null) by the held-out images, ``training_speed`` by the lowest mean training loss of that epoch, for which no
    held-out image counts (Ru et al., NeurIPS 2021, arXiv:2006.04492, TSE of one epoch). All of it counts as the search's seconds, so that
    samples times epochs can be set to what another search takes.
    ``halving: k`` is successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv:1502.07943): the best one in k goes through to a round
    in which it is trained anew for k times as many epochs, until fewer than two would be left.
    """
    if not shared_weights:
        if score_batches is not None:
            raise ValueError(
                f"method.score_batches has an effect with method.shared_weights: true alone. Set it to null. Got {score_batches}."
            )
        alone = TrainedAlone(
            samples=at_least(1, "samples", samples),
            epochs=None if train_epochs is None else at_least(1, "train_epochs", train_epochs),
            halving=None if halving is None else at_least(2, "halving", halving),
            rank_by=rank_by or "validation",
        )
        return Method(relax=Uniform(), arch_gradient=Still(), select=alone)
    for key, value in {"train_epochs": train_epochs, "halving": halving, "rank_by": rank_by}.items():
        if value is not None:
            raise ValueError(f"method.{key} has an effect with method.shared_weights: false alone. Set it to null. Got {value}.")
    batches = 8 if score_batches is None else at_least(1, "score_batches", score_batches)
    return Method(relax=Uniform(), arch_gradient=Still(), select=BestOfRandom(samples=at_least(1, "samples", samples), batches=batches))
