"""The best of several architectures, by whoever judges them."""

import contextlib
import math

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.search.select import TrainedAlone, best
from darts_core.spaces.nasbench201 import nasbench201

GENOTYPES = [nasbench201().random_genotype(torch.Generator().manual_seed(seed)) for seed in range(5)]


class Judged:
    """A supernet whose quality is told by the architecture that it computes alone."""

    def __init__(self, *qualities):
        self.quality = dict(zip(GENOTYPES, qualities))
        self.asked = []

    @contextlib.contextmanager
    def only(self, genotype):
        self.asked.append(genotype)
        yield

    def evaluate(self):
        return self.quality[self.asked[-1]]


@pytest.mark.parametrize(
    ("qualities", "winner"),
    [((1.0, 3.0, 2.0), 1), ((2.0, 3.0, 3.0), 1), ((math.nan, -5.0, math.nan), 1), ((0.0, math.nan, 4.0), 2), ((-4.0, -1.0, -2.0), 1)],
)
def test_the_highest_is_the_best_of_equals_the_first_and_no_number_never(qualities, winner):
    net = Judged(*qualities)
    assert best(GENOTYPES[: len(qualities)], net, net.evaluate) == (GENOTYPES[winner], qualities[winner])


def test_each_architecture_is_computed_once():
    net = Judged(1.0, 2.0)
    best([GENOTYPES[0], GENOTYPES[1], GENOTYPES[0], GENOTYPES[1]], net, net.evaluate)
    assert net.asked == GENOTYPES[:2]


@pytest.mark.parametrize(
    ("samples", "halving", "rounds"),
    [
        (9, None, [(9, 2)]),
        (9, 3, [(9, 2), (3, 6)]),
        (18, 3, [(18, 2), (6, 6), (2, 18)]),
        (8, 2, [(8, 2), (4, 4), (2, 8)]),
        (5, 3, [(5, 2)]),
    ],
)
def test_each_round_trains_fewer_for_longer(samples, halving, rounds):
    assert TrainedAlone(samples=samples, epochs=2, halving=halving).rounds(SearchConfig(epochs=7)) == rounds
    assert TrainedAlone(samples=samples, epochs=None, halving=halving).rounds(SearchConfig(epochs=2)) == rounds
