"""The keys of the rank disorder, alone and together: what has no effect, or cannot be told, is refused."""

import re

import pytest

from darts_core.components import COMPONENTS, cross_check
from darts_core.config import ConfigError, from_mapping

SPACE = {"name": "nasbench201"}


def read(space=SPACE, method=None, **search):
    sections = {"data": {"name": "digits"}, "space": space, "search": search, "method": method or {"name": "darts"}}
    return from_mapping(sections, components=COMPONENTS, cross_check=lambda cfg: cross_check(cfg, only_search=True))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"rank_samples": 3, "rank_truth": 1}, "search.rank_samples: must be at least 5, since fewer show no order, or 0 for none. Got 3."),
        ({"rank_every": 2}, "search.rank_every: has an effect with search.rank_samples above 0 alone. Set it to 1. Got 2."),
        ({"rank_samples": 9, "rank_truth": 1, "rank_every": 51}, "search.rank_every: must not exceed search.epochs (50). Got 51."),
        ({"rank_samples": 9}, "search.rank_truth: must be the path of a benchmark table, or a number of epochs"),
        ({"rank_truth": 1}, "search.rank_truth: has an effect with search.rank_samples above 0 alone. Set it to null. Got 1."),
        ({"rank_samples": 9, "rank_truth": 0}, "search.rank_truth"),
        ({"rank_samples": 9, "rank_truth": "no.csv"}, "search.rank_truth: no.csv: cannot be read"),
        (
            {"rank_samples": 9, "rank_truth": "no.csv", "space": {"name": "darts_cnn"}},
            "search.rank_truth must be a number of epochs with space.name: darts_cnn, whose architectures no table lists.",
        ),
    ],
)
def test_what_is_refused(search, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(**search)


@pytest.mark.parametrize(
    ("method", "search", "key"),
    [
        ({"name": "darts"}, {"rank_truth": 1}, "search.rank_samples"),
        ({"name": "random_search", "shared_weights": False}, {}, "method.samples"),
    ],
)
def test_no_more_architectures_than_the_space_has(method, search, key):
    space = {"name": "nasbench201", "primitives": ["none", "nor_conv_3x3"]}  # two operations on six edges

    def asking(samples):
        return (
            read(space, {**method, "samples": samples}) if key == "method.samples" else read(space, method, **search, rank_samples=samples)
        )

    assert asking(64)
    with pytest.raises(ConfigError, match=re.escape(f"{key}: 65 different architectures expected in the space 'nasbench201'. Found 64.")):
        asking(65)


def test_what_is_taken():
    assert read(rank_samples=9, rank_truth=2, rank_every=50).search.rank_truth == 2
