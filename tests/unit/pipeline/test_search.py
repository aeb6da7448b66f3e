"""What the stage search refuses before its first epoch."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from darts_core.config import Config
from darts_core.data import prepare
from darts_core.pipeline import search
from darts_core.pipeline.places import PREPARED


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Images of 6x6 pixels, prepared in the working folder; returns the configuration."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        Path("photos", kind).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(Path("photos", kind, f"{i}.png"))
    cfg = Config.model_validate({"data": {"name": "image_folder", "root": "photos", "valid_fraction": 0.0}})
    prepare(cfg.data, PREPARED)
    return cfg


def test_a_baseline_that_does_not_fit_the_images_stops_the_search_before_it_starts(prepared):
    with pytest.raises(ValueError, match=r"retrain\.baselines: .* at least 8 pixels a side\. Got 6\."):
        search.run(SimpleNamespace(cfg=prepared))


def test_without_baselines_such_images_are_searched_on(prepared, monkeypatch):
    class Begun(Exception):
        pass

    def begin(*args):
        raise Begun

    monkeypatch.setattr(search, "_checkpoint", begin)
    cfg = prepared.model_copy(update={"retrain": prepared.retrain.model_copy(update={"baselines": ()})})
    with pytest.raises(Begun):
        search.run(SimpleNamespace(cfg=cfg, session=None))
