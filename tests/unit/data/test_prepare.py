from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from darts_core.config import DataConfig
from darts_core.data import AugmentPolicy, open_prepared, prepare

if TYPE_CHECKING:
    from conftest import MakeFolder

DIGITS = DataConfig(name="digits")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits")
    prepare(DIGITS, out)
    return out


def test_digits(digits: Path) -> None:
    data = open_prepared(digits)
    assert (data.spec.channels, data.spec.height, data.spec.width, data.spec.num_classes) == (1, 8, 8, 10)
    assert data.spec.augment == AugmentPolicy(crop_padding=1, flip=False, cutout_length=2, rotation=10.0, zoom=0.1)
    assert (len(data.train()), len(data.valid()), len(data.test())) == (1293, 145, 359)
    values = data.train().gather(torch.arange(1293)).unique().tolist()
    assert values == [int(v * 255 / 16 + 0.5) for v in range(17)]


def test_the_digits_are_the_sources_own(digits: Path) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    test = open_prepared(digits).test()
    places = [int(name.split("/")[1]) for name in json.loads((digits / "test" / "splits.json").read_text())["test"]]
    np.testing.assert_array_equal(test.labels.numpy(), source.target[places])
    scaled = test.gather(torch.arange(len(test)))[:, 0].numpy()
    np.testing.assert_array_equal(np.rint(scaled * 16.0 / 255.0), source.images[places])


def test_statistics_are_of_the_training_images_alone(digits: Path) -> None:
    data = open_prepared(digits)
    pixels = data.train().gather(torch.arange(len(data.train()))).double() / 255.0
    assert data.spec.mean == pytest.approx((float(pixels.mean()),), rel=1e-12)
    assert data.spec.std == pytest.approx((float(pixels.std(correction=0)),), rel=1e-12)


def test_splits_are_stratified(digits: Path) -> None:
    data = open_prepared(digits)
    counts = [torch.bincount(images.labels, minlength=10) for images in (data.train(), data.valid(), data.test())]
    whole = sum(counts)
    for part, share in zip(counts, (0.72, 0.08, 0.2)):
        assert (part - whole * share).abs().max() <= 1.0
    assert int(whole.sum()) == 1797


def test_trainval_is_train_then_valid(digits: Path) -> None:
    data = open_prepared(digits)
    both = data.trainval()
    assert len(both) == 1293 + 145
    assert torch.equal(both.labels, torch.cat([data.train().labels, data.valid().labels]))
    assert torch.equal(both.gather(torch.tensor([1300])), data.valid().gather(torch.tensor([7])))


def test_the_split_for_the_search_divides_train(digits: Path) -> None:
    data = open_prepared(digits)
    weights, alpha = data.search_splits(0.5, seed=0)
    assert abs(len(weights) - len(alpha)) <= 10
    assert len(weights) + len(alpha) == 1293
    assert torch.equal(torch.cat([weights.labels, alpha.labels]).bincount(), data.train().labels.bincount())
    again, _ = data.search_splits(0.5, seed=0)
    other, _ = data.search_splits(0.5, seed=1)
    everything = torch.arange(len(weights))
    assert torch.equal(weights.gather(everything), again.gather(everything))
    assert not torch.equal(weights.labels, other.labels)


def test_a_share_that_is_too_small_says_which_is_not(
    make_folder: MakeFolder, folder_config: Callable[..., DataConfig], tmp_path: Path
) -> None:
    prepare(folder_config(make_folder("a", "b", count=20), valid_fraction=0.0), tmp_path / "many")
    data = open_prepared(tmp_path / "many")  # 16 of each class
    with pytest.raises(ValueError, match=r"^search\.data_fraction: 0\.01 leaves .* 'a' \(1\), 'b' \(1\)\. Set it to 0\.0938 or more\.$"):
        data.search_splits(0.5, seed=0, fraction=0.01)
    assert [len(part) for part in data.search_splits(0.5, seed=0, fraction=0.0938)] == [2, 2]
    with pytest.raises(ValueError, match=r"^search\.data_fraction: 0\.0937 "):
        data.search_splits(0.5, seed=0, fraction=0.0937)
    prepare(folder_config(make_folder("a", "b", count=3, root="few"), valid_fraction=0.0), tmp_path / "few")  # 2 of each class
    with pytest.raises(ValueError, match=r"Set it to 1 or more"):
        open_prepared(tmp_path / "few").search_splits(0.5, seed=0, fraction=0.99)
    assert len(open_prepared(tmp_path / "few").search_splits(0.5, seed=0)[0]) == 2


def test_classes_that_validation_leaves_too_small_may_go_without(
    make_folder: MakeFolder, folder_config: Callable[..., DataConfig], tmp_path: Path
) -> None:
    root = make_folder("train/a", "train/b", "test/a", "test/b", count=2)
    prepare(folder_config(root), tmp_path / "out")
    for fraction in (0.5, 1.0):
        with pytest.raises(ValueError, match=r"Too few in 'a' \(1\), 'b' \(1\)\. Add images, .* \(data\.valid_fraction, 0 for none\)"):
            open_prepared(tmp_path / "out").search_splits(0.5, seed=0, fraction=fraction)
    prepare(folder_config(root, valid_fraction=0.0), tmp_path / "out")
    assert [len(part) for part in open_prepared(tmp_path / "out").search_splits(0.5, seed=0)] == [2, 2]
    with pytest.raises(ValueError, match=r"^data\.valid_fraction: .* or set data\.valid_fraction to 0"):
        prepare(folder_config(make_folder("a", "b", count=2, root="small")), tmp_path / "out")


def test_the_same_run_writes_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    prepare(DIGITS, tmp_path)
    for path in sorted(digits.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(digits)).read_bytes(), path


def test_another_split_seed_moves_images_but_not_the_content_hash(digits: Path, tmp_path: Path) -> None:
    prepare(DataConfig(name="digits", split_seed=1), tmp_path)
    one, two = open_prepared(digits), open_prepared(tmp_path)
    assert one.spec.content_hash == two.spec.content_hash
    assert not torch.equal(one.test().labels, two.test().labels)


def test_the_test_images_are_read_by_test_alone(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "test")
    data = open_prepared(tmp_path / "out")
    assert len(data.trainval()) == 1438
    data.search_splits(0.5, seed=0)
    with pytest.raises(ValueError, match=r"test/storage\.json cannot be read"):
        data.test()


def test_halves_of_two_runs_are_not_mixed(digits: Path, tmp_path: Path) -> None:
    prepare(DataConfig(name="digits", split_seed=1), tmp_path)
    shutil.rmtree(tmp_path / "test")
    shutil.copytree(digits / "test", tmp_path / "test")
    with pytest.raises(ValueError, match="come from two different runs"):
        open_prepared(tmp_path).test()


def test_no_validation_images(tmp_path: Path) -> None:
    prepare(DataConfig(name="digits", valid_fraction=0.0), tmp_path)
    data = open_prepared(tmp_path)
    assert len(data.train()) == len(data.trainval()) == 1438
    with pytest.raises(ValueError, match=r"data\.valid_fraction is 0"):
        data.valid()


def test_nothing_prepared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"spec\.json is missing: the data are not prepared\. Run: dvc repro prepare_data"):
        open_prepared(tmp_path)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        open_prepared(tmp_path)


def test_a_folder_that_lost_images(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "out")
    np.save(tmp_path / "out" / "trainval" / "labels.npy", np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="1438 images, 3 labels, 1438 names"):
        open_prepared(tmp_path / "out").train()


def test_arrays_over_the_budget_are_mapped(digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(DataConfig(name="digits", memory_budget_mib=0.05), tmp_path)
    assert "will be mapped" in caplog.text
    one, two = open_prepared(digits), open_prepared(tmp_path)
    index = torch.arange(100).flip(0)
    assert torch.equal(one.train().gather(index), two.train().gather(index))


def test_other_files_beside_the_outputs_stay(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/trainval\n")
    prepare(DIGITS, tmp_path)
    prepare(DIGITS, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "spec.json", "test", "trainval"]


def test_a_failure_while_writing_leaves_the_old_output(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(digits, tmp_path / "out")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["darts_core.data.storage"], "_write_json", full)
    with pytest.raises(OSError, match="No space"):
        prepare(DataConfig(name="digits", split_seed=1), tmp_path / "out")
    monkeypatch.undo()
    assert len(open_prepared(tmp_path / "out").test()) == 359
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["spec.json", "test", "trainval"]


def test_what_a_killed_run_left_behind_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".partial" / "trainval").mkdir(parents=True)
    prepare(DIGITS, tmp_path)
    assert not (tmp_path / ".partial").exists()


def test_half_of_a_change_is_not_opened(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two renames: there is no spec.json, so nothing reads a mixture."""
    shutil.copytree(digits, tmp_path / "out")
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == "test" and self.parent.name == ".partial":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(DataConfig(name="digits", split_seed=1), tmp_path / "out")
    with pytest.raises(ValueError, match="not prepared"):
        open_prepared(tmp_path / "out")


def test_unknown_data_sets_and_options_name_the_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.name: no data set is called 'digit' \(did you mean 'digits'\?\)"):
        prepare(DataConfig(name="digit"), tmp_path)
    with pytest.raises(ValueError, match=r"data\.test_fractoin: not an option of data set 'digits'"):
        prepare(DataConfig.model_validate({"name": "digits", "test_fractoin": 0.3}), tmp_path)
    with pytest.raises(ValueError, match=r"data\.test_fraction must lie between 0 and 1"):
        prepare(DataConfig.model_validate({"name": "digits", "test_fraction": 1.5}), tmp_path)


def test_every_image_of_a_folder_is_in_one_split_for_many_seeds(
    make_folder: MakeFolder, folder_config: Callable[..., DataConfig], tmp_path: Path
) -> None:
    root = make_folder("a", "b", "c", count=3)
    for seed in range(5):
        prepare(folder_config(root, split_seed=seed), tmp_path / "out")
        splits = {**json.loads((tmp_path / "out/trainval/splits.json").read_text())}
        splits |= json.loads((tmp_path / "out/test/splits.json").read_text())
        assert sorted(splits["train"] + splits["valid"] + splits["test"]) == [f"{k}/00{i}.png" for k in "abc" for i in range(3)]
        assert len(splits["train"]) == len(splits["valid"]) == len(splits["test"]) == 3
