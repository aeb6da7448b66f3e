"""The comparison with the published reference's numbers, as tests; all of it: ``python -m tests.oracle.check_reference FOLDER``."""

from itertools import islice
from pathlib import Path

import pytest

from tests.oracle import recurrent, reference

CHECKS = {**reference.CHECKS, **recurrent.CHECKS}
REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
# Building and counting all published networks takes minutes: here the first few.
FIRST = {"params_and_macs.json": 12, "darts_param_counts.json": 16}


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"{REFERENCE} is not there")
@pytest.mark.parametrize("title", CHECKS)
def test_reference(title):
    outcomes = list(islice(CHECKS[title](REFERENCE), FIRST.get(title)))
    assert outcomes
    assert [f"{name}: {fault}" for name, fault in outcomes if fault is not None] == []
