from __future__ import annotations

import json

import pytest

from darts_core.data import AugmentPolicy, DataSpec

SPEC = DataSpec("toy", ("a", "b"), 3, 5, 7, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), AugmentPolicy(1, True, 2), "abc")


def test_it_survives_json() -> None:
    assert DataSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    assert SPEC.num_classes == 2


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected schema_version 1\. Got 2"):
        DataSpec.from_dict({**SPEC.to_dict(), "schema_version": 2})


def test_a_missing_key_is_named() -> None:
    values = SPEC.to_dict()
    del values["std"]
    with pytest.raises(ValueError, match=r"expected the keys \[.*'std'"):
        DataSpec.from_dict(values, source="here.json")


def test_one_mean_a_channel() -> None:
    with pytest.raises(ValueError, match="one number a channel"):
        DataSpec("toy", ("a",), 3, 5, 7, (0.1,), (0.4, 0.5, 0.6), AugmentPolicy(), "abc")
