"""Labels that do not fit the classes are refused with the loader's name, before a GPU aborts or cross entropy ignores them."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import darts_core

CONFIG = {
    "space": {"name": "darts_cnn", "init_channels": 2, "layers": 3, "nodes": 1, "primitives": ["none", "skip_connect"]},
    "search": {"epochs": 1},
}


def loader(labels):
    images = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images, torch.tensor(labels)), batch_size=4)


@pytest.mark.parametrize("bad", [[0, 1, 0, 2], [0, 1, 0, -100]])
@pytest.mark.parametrize("where", ["train_loader", "valid_loader"])
def test_a_label_outside_the_classes_names_the_loader(bad, where):
    fine = loader([0, 1] * 4)
    train, valid = (loader([0, 1, 0, 1, *bad]) if name == where else fine for name in ("train_loader", "valid_loader"))
    with pytest.raises(ValueError, match=rf"{where}: labels 0 to 1 expected\. Got .*num_classes"):
        darts_core.search_architecture(train, valid, CONFIG, device="cpu", verbose=False, num_classes=2)


def test_negative_labels_are_refused_without_num_classes_too():
    batches = loader([-1, 0, 1, 0])
    with pytest.raises(ValueError, match="Number the classes from 0"):
        darts_core.search_architecture(batches, batches, CONFIG, device="cpu", verbose=False)
