"""What DVC is told of the files that params.yaml names, and what a checkpoint makes of a change in one."""

import hashlib
import json

from darts_core.config import Config
from darts_core.pipeline import named_files, places


def test_every_named_file_is_hashed_and_a_change_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("layers.json", "mine.json", "table.csv", "ranks.csv"):
        (tmp_path / name).write_text(name)
    cfg = Config(
        data={"name": "digits"},
        space={"name": "layerwise", "search_space": "layers.json"},
        derive={"genotype": "mine.json"},
        evaluate={"benchmark_table": "table.csv"},
        search={"rank_samples": 5, "rank_truth": "ranks.csv"},
    )
    named_files.run(cfg)
    seen = {path.stem: json.loads(path.read_text()) for path in places.NAMED_FILES.iterdir()}
    assert seen == {
        "space": {"space.search_space": hashlib.sha256(b"layers.json").hexdigest()},
        "genotype": {"derive.genotype": hashlib.sha256(b"mine.json").hexdigest()},
        "table": {"evaluate.benchmark_table": hashlib.sha256(b"table.csv").hexdigest()},
        "ranks": {"search.rank_truth": hashlib.sha256(b"ranks.csv").hexdigest()},
    }
    (tmp_path / "layers.json").write_text("other")
    named_files.run(cfg)
    assert json.loads((places.NAMED_FILES / "space.json").read_text()) != seen["space"]


def test_where_nothing_is_named_nothing_is_hashed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named_files.run(Config(data={"name": "digits"}, space={"name": "layerwise", "search_space": None}))
    assert {path.name: json.loads(path.read_text()) for path in places.NAMED_FILES.iterdir()} == {
        "space.json": {},
        "genotype.json": {},
        "table.json": {},
        "ranks.json": {},
    }
