"""What a network's epochs were computed by is noted beside them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from darts_core.nets.backend import Used
from darts_core.pipeline import image_training
from darts_core.pipeline.image_training import ImageTraining
from darts_core.runtime.checkpoint import Checkpoint


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Return what prepares a network that is to be computed by a backend: it returns what is said of it, and how often it was prepared."""
    asked = []
    monkeypatch.setattr(image_training, "use_backend", lambda _, wanted, *args, **kwargs: asked.append(wanted) or Used(name=wanted, why=""))

    def run(wanted, state=None):
        own = SimpleNamespace(
            cfg=SimpleNamespace(retrain=SimpleNamespace(epochs=3, backend=wanted, amp="off", batch_size=2)),
            session=SimpleNamespace(device=torch.device("cpu"), memory_format=torch.contiguous_format),
            sizes=SimpleNamespace(channels=3, height=8, width=8),
            prepared=SimpleNamespace(train=lambda: [0] * 5),
            backends={},
        )
        with Checkpoint("retrain", {}, root=tmp_path) as checkpoint:
            if state is not None:
                checkpoint.save("searched", state)
            ImageTraining._backend(own, "searched", nn.Identity(), checkpoint)
        return own.backends["searched"], len(asked)

    return run


def test_a_trained_network_is_not_prepared_again(prepare):
    assert prepare("native") == ("native", 1)
    assert prepare("native", {"epoch": 2}) == ("native", 2)
    assert prepare("eager", {"epoch": 3}) == ("native", 2)


def test_epochs_of_two_backends_are_told(prepare, caplog):
    caplog.set_level("INFO")
    prepare("native")
    assert "goes on" not in caplog.text
    assert prepare("eager", {"epoch": 1}) == ("native, then eager", 2)
    assert "searched: goes on from epoch 1, which backend native computed." in caplog.text
    assert prepare("compiled", {"epoch": 3}) == ("native, then eager", 2)
    assert "searched: is trained already, by backend eager." in caplog.text


def test_without_an_epoch_only_the_last_counts(prepare):
    prepare("native")
    assert prepare("eager") == ("eager", 2)
