"""The downloaded data sets, on small files in their own formats whose checksums are made to fit."""

from __future__ import annotations

import hashlib
import io
import struct
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from darts_core.config import DataConfig
from darts_core.data import DATASETS, AugmentPolicy, open_prepared, prepare

RNG = np.random.default_rng(0)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def fake_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, source: type, key: str, classes: list[str]) -> dict[str, np.ndarray]:
    folder = root / source.base_folder  # whose files are pickles; torchvision reads them once their checksums are right
    folder.mkdir(parents=True)
    pixels = {}
    lists: dict[str, list] = {}
    for half, count in (("train_list", 40), ("test_list", 20)):
        data = RNG.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [i % len(classes) for i in range(count)]
        (folder / half).write_bytes(ForkingPickler.dumps({"data": data, key: labels}))
        lists[half] = [[half, md5(folder / half)]]
        pixels[half] = data.reshape(-1, 3, 32, 32)
    (folder / "meta").write_bytes(ForkingPickler.dumps({"names": classes}))
    monkeypatch.setattr(source, "train_list", lists["train_list"])
    monkeypatch.setattr(source, "test_list", lists["test_list"])
    monkeypatch.setattr(source, "meta", {"filename": "meta", "key": "names", "md5": md5(folder / "meta")})
    return pixels


def prepared(name: str, root: Path, out: Path):
    prepare(DataConfig.model_validate({"name": name, "root": str(root), "valid_fraction": 0.25}), out)
    return open_prepared(out)


@pytest.mark.parametrize(
    ("name", "source", "key"), [("cifar10", datasets.CIFAR10, "labels"), ("cifar100", datasets.CIFAR100, "fine_labels")]
)
def test_cifar(name: str, source: type, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = fake_cifar(tmp_path / "raw", monkeypatch, source, key, ["ape", "bee"])
    data = prepared(name, tmp_path / "raw", tmp_path / "out")
    assert (data.spec.name, data.spec.class_names, data.spec.augment) == (name, ("ape", "bee"), AugmentPolicy(4, True, 16))
    assert (len(data.train()), len(data.valid())) == (30, 10)
    np.testing.assert_array_equal(data.test().gather(torch.arange(20)).numpy(), pixels["test_list"])


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    splits = {}
    for split, count in (("train", 40), ("test", 20)):
        data = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(tmp_path / f"{split}.mat", {"X": data, "y": np.arange(1, count + 1)[:, None] % 10 + 1})
        splits[split] = ["", f"{split}.mat", md5(tmp_path / f"{split}.mat")]
    monkeypatch.setattr(datasets.SVHN, "split_list", splits)
    spec_and_data = prepared("svhn", tmp_path, tmp_path / "out")
    assert spec_and_data.spec.augment == AugmentPolicy(4, False, 16)
    test = spec_and_data.test()
    assert test.labels.tolist() == [(i % 10 + 1) % 10 for i in range(1, 21)]
    np.testing.assert_array_equal(test.gather(torch.tensor([19]))[0].numpy(), data[..., 19].transpose(2, 0, 1))


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def fake_fashion_mnist(root: Path) -> np.ndarray:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for half, count in (("train", 40), ("t10k", 20)):
        pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{half}-images-idx3-ubyte").write_bytes(idx(pixels))
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return pixels


def test_fashion_mnist(tmp_path: Path) -> None:
    pixels = fake_fashion_mnist(tmp_path)
    data = prepared("fashion_mnist", tmp_path, tmp_path / "out")
    assert (data.spec.channels, data.spec.height, data.spec.class_names[0]) == (1, 28, "T-shirt/top")
    assert data.spec.augment == AugmentPolicy(3, True, 14)
    np.testing.assert_array_equal(data.test().gather(torch.arange(20))[:, 0].numpy(), pixels)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashion_mnist"])
def test_a_failing_download_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ValueError, match=rf"{name} could be neither found in data\.root \(.*raw\).*Check the network"):
        prepared(name, tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out" / "spec.json").exists()


def test_a_damaged_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar(tmp_path / "raw", monkeypatch, datasets.CIFAR10, "labels", ["ape", "bee"])
    (tmp_path / "raw" / "cifar-10-batches-py" / "train_list").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(datasets.CIFAR10, "download", lambda self: None)
    with pytest.raises(ValueError, match=r"neither found in .* nor downloaded and verified: .*corrupted"):
        prepared("cifar10", tmp_path / "raw", tmp_path / "out")


def test_a_damaged_download_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Response(io.BytesIO):
        length = url = None

    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: Response(b"not the file"))
    with pytest.raises(ValueError, match="File not found or corrupted"):
        prepared("svhn", tmp_path, tmp_path / "out")


def test_a_cut_file_is_not_taken_for_a_data_set(tmp_path: Path) -> None:
    fake_fashion_mnist(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="remove damaged files there"):
        prepared("fashion_mnist", tmp_path, tmp_path / "out")


def test_all_are_registered() -> None:
    texts = ["penn_treebank", "python_docs", "text", "wikitext2"]
    assert DATASETS.names() == sorted(["cifar10", "cifar100", "digits", "fashion_mnist", "image_folder", "svhn", *texts])
    for name in DATASETS:
        assert len(DATASETS.summary(name)) > 20
