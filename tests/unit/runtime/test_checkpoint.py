import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darts_core.runtime import checkpoint as module
from darts_core.runtime.checkpoint import Checkpoint, CheckpointError, clear_finished, fingerprint, save_atomically

ROOT = Path(__file__).parents[3]
WRITER = """
import os, signal, sys
from pathlib import Path
from darts_core.runtime import checkpoint

def half(state, file):
    file.write(b"half of a sta")
    file.flush()
    sys.stdout.write("writing\\n")
    sys.stdout.flush()
    sys.stdin.read()

with checkpoint.Checkpoint("search", {"seed": 0}, root=Path(sys.argv[1])) as own:
    own.save("search", {"epoch": 1})
    checkpoint.torch.save = half
    own.save("search", {"epoch": 2})
"""


def open_at(root, **content):
    return Checkpoint("search", content or {"seed": 0}, root=root)


def test_every_kind_of_state_comes_back(tmp_path):
    state = {
        "tensor": torch.arange(6.0).view(2, 3),
        "strides": torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "nested": {"list": [1, 2.5, "x", None, True], "tuple": (1, 2)},
        0: "a key that is a number, as optimisers have them",
    }
    with open_at(tmp_path) as checkpoint:
        assert checkpoint.load("search") is None
        checkpoint.save("search", state)
        loaded = checkpoint.load("search")
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert torch.equal(loaded.pop("generator"), state.pop("generator"))
    assert loaded.pop("strides").stride() == state.pop("strides").stride()
    assert loaded == state


def test_the_last_state_counts_and_names_are_apart(tmp_path):
    with open_at(tmp_path) as checkpoint:
        for epoch in (1, 2):
            checkpoint.save("searched", {"epoch": epoch})
        checkpoint.save("resnet20", {"epoch": 7})
        assert checkpoint.load("searched") == {"epoch": 2}
        assert checkpoint.load("resnet20") == {"epoch": 7}


def test_what_is_discarded_is_gone_and_the_rest_stays(tmp_path):
    with open_at(tmp_path) as checkpoint:
        for name in ("candidate_0", "search"):
            checkpoint.save(name, {"epoch": 1})
        for _ in range(2):  # after a kill it may be gone already
            checkpoint.discard("candidate_0")
        assert checkpoint.load("candidate_0") is None
        assert checkpoint.load("search") == {"epoch": 1}


def test_other_parameters_are_another_checkpoint(tmp_path):
    with open_at(tmp_path, seed=0) as one, open_at(tmp_path, seed=1) as other:
        one.save("search", {"epoch": 1})
        assert other.load("search") is None


def test_a_fingerprint_depends_on_content_alone():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint({})) == 16


def test_a_crash_while_writing_leaves_the_old_state(tmp_path, monkeypatch):
    def crash(state, file):
        file.write(b"half")
        raise OSError("No space left on device")

    with open_at(tmp_path) as checkpoint:
        checkpoint.save("search", {"epoch": 1})
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", crash)
            with pytest.raises(OSError, match="No space left"):
                checkpoint.save("search", {"epoch": 2})
        assert checkpoint.load("search") == {"epoch": 1}
        assert [path.name for path in checkpoint.folder.iterdir()] == ["search.pt"], "the half file is removed"


def test_a_writer_refuses_others_until_it_is_killed_and_what_it_was_writing_does_not_count(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as writer:
        try:
            assert writer.stdout.readline() == "writing\n"
            with (
                pytest.raises(CheckpointError, match=r"is in use: another process runs this stage with these parameters"),
                open_at(tmp_path),
            ):
                pass
            with open_at(tmp_path, seed=1) as other:
                assert other.load("search") is None, "other parameters are free"
        finally:
            writer.send_signal(signal.SIGKILL)
    with open_at(tmp_path) as successor:
        assert successor.load("search") == {"epoch": 1}
        successor.save("search", {"epoch": 3})
        assert successor.load("search") == {"epoch": 3}


def test_the_lock_ends_with_the_block_also_after_an_error(tmp_path):
    with pytest.raises(KeyError), open_at(tmp_path):
        raise KeyError
    with open_at(tmp_path), pytest.raises(CheckpointError, match="in use"), open_at(tmp_path):
        pass
    with open_at(tmp_path):
        pass


@pytest.mark.parametrize("damage", ["empty", "cut", "one byte", "all bytes", "text"])
def test_a_damaged_file_is_named(tmp_path, damage):
    with open_at(tmp_path) as checkpoint:
        checkpoint.save("search", {"epoch": 1, "weights": torch.full((50,), 3.0)})
        path = checkpoint.folder / "search.pt"
        whole = path.read_bytes()
        at = whole.index(torch.full((50,), 3.0).numpy().tobytes()) + 10
        damaged = {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "one byte": whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :],
            "all bytes": bytes(byte ^ 255 for byte in whole),
            "text": b"not a checkpoint",
        }
        path.write_bytes(damaged[damage])
        with pytest.raises(
            CheckpointError, match=r"search\.pt cannot be read .* Delete it to start this stage from the beginning\."
        ) as error:
            checkpoint.load("search")
        assert "weights_only" not in str(error.value), "torch's advice to load it unsafely is not passed on"


class Evil:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['EVIL']}/ran",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL", str(tmp_path))
    with open_at(tmp_path) as checkpoint:
        checkpoint.save("search", {"epoch": Evil()})
        with pytest.raises(CheckpointError, match="cannot be read"):
            checkpoint.load("search")
    assert not (tmp_path / "ran").exists()


def test_the_runs_before_count_up_to_the_last_state_that_they_saved(tmp_path, monkeypatch):
    def run(at, *saved):
        monkeypatch.setattr(module.time, "time", lambda: at)
        with open_at(tmp_path) as checkpoint:
            earlier_s = checkpoint.begin_run()
            for epoch, seconds in enumerate(saved):
                name = f"network {epoch}"
                checkpoint.save(name, {"epoch": epoch})
                os.utime(checkpoint.folder / f"{name}.pt", (seconds, seconds))
        return earlier_s

    assert run(1000.0, 1010.0, 1030.0) == 0.0
    assert run(5000.0) == 30.0, "the hour in between is nobody's"
    assert run(6000.0, 6010.0, 6005.0) == 30.0, "the second run saved nothing"
    assert run(7000.0) == 40.0


def test_only_finished_states_are_cleared(tmp_path):
    with open_at(tmp_path) as checkpoint:
        checkpoint.save("search", {"epoch": 1})
        clear_finished(tmp_path)
        assert checkpoint.load("search") == {"epoch": 1}
        checkpoint.finish()
        assert checkpoint.load("search") == {"epoch": 1}, "kept until a later stage has seen the outputs"
    clear_finished(tmp_path)
    assert not list(tmp_path.rglob("*.pt"))
    clear_finished(tmp_path)


def test_save_atomically_replaces(tmp_path):
    path = tmp_path / "best.pt"
    for text in ("one", "two"):
        save_atomically(path, lambda file, text=text: file.write(text.encode()))
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_begins_afresh_says_what_is_unfinished(tmp_path, caplog):
    """Not what is finished, nor what saved nothing; and a run that goes on says nothing."""
    with caplog.at_level(logging.INFO):
        for seed, is_finished in ((1, False), (2, True), (3, False)):
            with open_at(tmp_path, seed=seed) as checkpoint:
                checkpoint.begin_run()
                if seed < 3:
                    checkpoint.save("search", {"epoch": 1})
                if is_finished:
                    checkpoint.finish()
        caplog.clear()
        with open_at(tmp_path, seed=4) as checkpoint:
            checkpoint.begin_run()
            assert "search: begins afresh." in caplog.text
            assert f"runtime.num_threads: 1, the last in {open_at(tmp_path, seed=1).folder};" in caplog.text
            caplog.clear()
            checkpoint.begin_run()
            assert not caplog.text
