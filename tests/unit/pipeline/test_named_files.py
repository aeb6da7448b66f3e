"""What DVC is told of the files that params.yaml names, and what a checkpoint makes of a change in one."""

import hashlib
import json
import os
from pathlib import Path

import pytest

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
        "data": {},
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
        "data.json": {},
    }


def noted(**data):
    named_files.run(Config(data=data))
    return json.loads((places.NAMED_FILES / "data.json").read_text())


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_change_in_one_s_own_data_shows(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    image = Path("photos/cat/a.png" if kind == "folder" else "photos.zip")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"1")
    os.utime(image, ns=(0, 0))
    own = {"name": "image_folder", "root": "photos" if kind == "folder" else "photos.zip"}
    seen = [noted(**own)]
    assert noted(**own) == seen[0]
    assert set(seen[0]) == {"data.root"}
    os.utime(image, ns=(0, 10**9))  # the same size, written again
    seen.append(noted(**own))
    image.write_bytes(b"22")
    os.utime(image, ns=(0, 10**9))
    seen.append(noted(**own))
    if kind == "folder":
        (image.parent / "b.png").symlink_to("nowhere")
        assert noted(**own) == seen[-1]
        image.rename(image.with_name("c.png"))
        seen.append(noted(**own))
    own["root"] = "gone"
    seen.append(noted(**own))
    assert len({each["data.root"] for each in seen}) == len(seen)


def test_a_linked_folder_is_watched_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "elsewhere"):
        Path(folder).mkdir()
    Path("photos/cat").symlink_to(tmp_path / "elsewhere")
    Path("photos/loop").symlink_to(tmp_path / "photos")
    before = noted(name="image_folder", root="photos")
    Path("elsewhere/a.png").write_bytes(b"1")
    assert noted(name="image_folder", root="photos") != before


def test_the_place_of_a_download_is_not_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert noted(name="cifar10", root="raw") == {}
