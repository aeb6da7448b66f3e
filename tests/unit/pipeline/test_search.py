"""What the stage search refuses before its first epoch."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from darts_core.components import build_method
from darts_core.config import Config, TextConfig
from darts_core.data import open_prepared, prepare
from darts_core.methods import METHODS
from darts_core.pipeline import search
from darts_core.pipeline.places import PREPARED
from darts_core.search.derive import DERIVE_RULES


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


@pytest.mark.parametrize("genotype", ["search", "DARTS_V2"])
def test_a_test_text_too_short_for_evaluate_stops_the_search_before_it_starts(tmp_path, monkeypatch, genotype):
    monkeypatch.chdir(tmp_path)
    for part, lines in (("train", 100), ("valid", 100), ("test", 10)):
        Path(f"{part}.txt").write_text("the cat sat on the mat\n" * lines, encoding="utf-8")
    values = {"data": {"name": "text", "root": "."}, "space": {"name": "darts_rnn"}, "retrain": {"batch_size": 2, "bptt": 5}}
    values["derive"] = {"genotype": genotype}
    cfg = TextConfig.model_validate({**values, "evaluate": {"batch_size": 2, "window": 35}})
    prepare(cfg.data, PREPARED)
    (PREPARED / "test" / "test.npy").unlink()  # nothing but its length is asked for
    message = r"The test text has 70 tokens here, fewer than one batch of 2 windows of 35 \+ 1\. Lower evaluate\.batch_size or evaluate"
    with pytest.raises(ValueError, match=message):
        search.run(SimpleNamespace(cfg=cfg))


def test_no_derivation_rule_changes_a_search(prepared, monkeypatch):
    monkeypatch.setattr(search, "search", lambda supernet, method, **rest: method)
    options = {"name": "fair_darts", "gate_threshold": 0.7}
    own = Config.model_validate({"data": {"name": "digits"}, "method": options, "derive": {"rule": "strongest_edges"}})
    session = SimpleNamespace(device=torch.device("cpu"), num_workers=0, progress="off")
    method = search.search_cell(own.model_copy(update={"data": prepared.data}), open_prepared(PREPARED), session)
    assert method.derive == METHODS.build("fair_darts", {"gate_threshold": 0.7}).derive
    assert build_method(own).derive == DERIVE_RULES.get("strongest_edges") != method.derive
