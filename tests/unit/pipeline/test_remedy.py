"""Memory or disk is full: a line that says what to lower or free, and a traceback for nothing but a fault of our own."""

import errno
import logging
import os

import numpy as np
import pytest
import torch
from torch import nn

from darts_core.data import prepare, workers
from darts_core.data import storage as module
from darts_core.pipeline import stage as around
from darts_core.pipeline.places import REPORTS
from darts_core.pipeline.remedy import remedy


def raised(function, *arguments):
    with pytest.raises((MemoryError, OSError, RuntimeError, ValueError)) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize("stage", REPORTS)
def test_every_stage_has_something_to_lower(stage):
    assert remedy(stage, MemoryError()).startswith("The memory is full (an allocation failed). Lower ")


@pytest.mark.parametrize("allocate", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_memory_that_really_is_refused(allocate):
    message = remedy("retrain", raised(allocate, 10**16))
    assert "retrain.batch_size" in message
    assert "\n" not in message


def test_a_disk_that_really_is_full():
    def fill():
        with open("/dev/full", "wb") as file:
            torch.save({"weights": torch.zeros(10**6)}, file)

    assert remedy("search", raised(fill)) == "The disk is full. Free some space and run the command again: finished epochs are kept."


def test_a_file_is_named(tmp_path):
    message = remedy("evaluate", raised(open, tmp_path / "gone"))
    assert message.startswith(f"A file cannot be read or written ({tmp_path / 'gone'}): No such file or directory. Check")


def test_a_fault_of_our_own_is_none_of_the_machine_s():
    assert remedy("search", RuntimeError("shape mismatch")) is None


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    (tmp_path / "params.yaml").write_text("data: {name: digits}\nruntime: {device: cpu}\ntracking: {enabled: false}\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "prepare_data stopped: The memory is full (an allocation failed). Lower data.image_size,"),
        (OSError(errno.ENOSPC, "No space left on device", "data/x"), "prepare_data stopped: The disk is full (data/x). Free some space"),
    ],
)
def test_a_stage_ends_with_one_line(params, capsys, error, line):
    with pytest.raises(SystemExit), around.stage("prepare_data"):
        raise error
    errors = capsys.readouterr().err.strip()
    assert errors.startswith(line)
    assert "\n" not in errors


def test_a_killed_decoder_ends_a_stage_with_one_line_too(params, capsys):
    workers._new_pool.cache_clear()
    with pytest.raises(SystemExit), around.stage("prepare_data"):
        workers.submit(1, os._exit, 1)()
    workers._new_pool.cache_clear()  # a broken pool must not meet another test
    errors = capsys.readouterr().err.strip()
    assert errors.startswith(
        "prepare_data stopped: A process that decodes images was killed, perhaps for want of memory. Lower runtime.num_w"
    )
    assert "\n" not in errors


def test_another_error_keeps_its_traceback(params):
    with pytest.raises(RuntimeError, match="shape mismatch"), around.stage("prepare_data"):
        raise RuntimeError("shape mismatch")


def test_prepared_images_are_not_mapped_into_a_full_disk(params, tmp_path, monkeypatch):
    from darts_core.config import DataConfig

    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match="No space left for 0 MiB") as caught:
        prepare(DataConfig(name="digits"), tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC


def one_pixel():
    nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))


def test_a_single_value_for_batch_norm_names_the_key():
    expected = (
        "BatchNorm cannot be trained on maps of one pixel of one image. Raise search.batch_size, or take larger images. (Expected more"
    )
    assert remedy("search", raised(one_pixel)).startswith(expected)
    assert "Raise retrain.batch_size" in remedy("retrain", ValueError("BatchNorm needs more than one value a channel in training. Got ..."))
    assert remedy("search", ValueError("search.lr must be positive")) is None
