"""Work in other processes: what they report arrives, and no way to fail is silent or slow."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darts_core.engine.loop import TrainingError
from darts_core.pipeline.apart import run_apart

ROOT = Path(__file__).parents[3]
WORK = '''
import os
import signal
import time
from pathlib import Path

import torch

from darts_core.engine.loop import TrainingError
from darts_core.pipeline.apart import report, run_apart
from darts_core.runtime.seed import stream


def train(folder, name):
    """Ten epochs of something that depends on the name alone."""
    generator, value = stream(0, name), torch.zeros(3)
    for epoch in range(1, 11):
        value = 0.5 * value + torch.randn(3, generator=generator)
        report(name, {"loss": float(value.sum()), "pid": os.getpid()}, epoch)
    torch.save(value, Path(folder) / f"{name}.pt")


def hang(folder, name):
    """Report that it runs, then do not end before a minute has passed."""
    (Path(folder) / f"{name}.pid").write_text(str(os.getpid()))
    report(name, {"started": 1.0}, 1)
    time.sleep(60)


def diverge_beside_a_long_one(folder, name):
    if name == "long":
        hang(folder, name)
    while not (Path(folder) / "long.pid").exists():
        time.sleep(0.05)
    report(name, {"loss": 5.0}, 1)
    raise TrainingError("The loss of epoch 2 is nan: the training diverged.")


def is_killed(folder, name):
    report(name, {"loss": 5.0}, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def start_one_that_hangs(folder):
    """What a stage does, until it is killed."""
    run_apart(hang, folder, ["a"], processes=1, log=lambda name, metrics, epoch: print(name, flush=True))


if __name__ == "__main__":
    import sys

    start_one_that_hangs(sys.argv[1])
'''


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The functions that the processes run: they must find them in a module of that name."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "apart_work.py").write_text(WORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("apart_work")
    sys.modules.pop("apart_work")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").is_dir() else True


def wait_until(condition, *, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Outlet(list):
    """The queue of a worker, when its work is done in this process."""

    put = list.append


def test_reports_arrive_in_order_and_results_are_those_of_one_process(work, tmp_path, monkeypatch):
    names = ["searched", "resnet20", "random_0"]
    here, there, seen, outlet = tmp_path / "here", tmp_path / "there", [], Outlet()
    here.mkdir(), there.mkdir()
    run_apart(work.train, str(there), names, processes=2, log=lambda *message: seen.append(message))
    monkeypatch.setattr("darts_core.pipeline.apart._outlet", [outlet])
    for name in names:
        work.train(str(here), name)
    for name in names:
        ours, theirs = ([(metrics["loss"], epoch) for sender, metrics, epoch in rows if sender == name] for rows in (outlet, seen))
        assert [epoch for _, epoch in theirs] == list(range(1, 11)), "all of them, the last ones, too"
        assert theirs == ours
        assert (there / f"{name}.pt").read_bytes() == (here / f"{name}.pt").read_bytes()
    pids = {metrics["pid"] for _, metrics, _ in seen}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_the_first_error_ends_the_rest_at_once_and_is_raised(work, tmp_path):
    seen = []
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"^The loss of epoch 2 is nan: the training diverged\.$"):
        run_apart(work.diverge_beside_a_long_one, str(tmp_path), ["long", "bad"], processes=2, log=lambda *message: seen.append(message))
    assert time.monotonic() - started < 40.0, "the other would have taken a minute"
    assert ("bad", {"loss": 5.0}, 1) in seen, "what was reported before the error is not lost"
    assert not is_running(int((tmp_path / "long.pid").read_text()))


def test_an_error_of_the_log_ends_the_work_too(work, tmp_path):
    def log(name, metrics, epoch):
        raise OSError("the tracking server is gone")

    with pytest.raises(OSError, match="the tracking server is gone"):
        run_apart(work.hang, str(tmp_path), ["a"], processes=1, log=log)
    assert not is_running(int((tmp_path / "a.pid").read_text()))


def test_a_killed_worker_says_what_to_do(work, tmp_path):
    with pytest.raises(TrainingError, match=r"was killed, perhaps because memory ran out. Lower runtime.processes or retrain.batch_size"):
        run_apart(work.is_killed, str(tmp_path), ["a", "b"], processes=1, log=lambda *message: None)


def test_workers_end_with_the_process_that_started_them(work, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, work.__file__, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout.readline() == "a\n"
        worker = int((tmp_path / "a.pid").read_text())
        assert is_running(worker)
        stage.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(worker))
