"""DVC's queue, with a dvc that is played: what is queued, what is waited for, what failed, what is not run twice."""

import json
import re
import sys

import psutil
import pytest

from darts_core.cli.compare import compare
from darts_core.pipeline.experiments import Experiment, ExperimentError
from darts_core.pipeline.queue import Queue, command, require_committed

HEAD = "1" * 40


class Played:
    """Answers as DVC does. ``failing`` seeds fail; a worker ends after ``per_worker`` experiments, as DVC's may, and ``work`` is a look."""

    def __init__(self, *, failing=(), per_worker=2):
        self.tasks = {}
        self.failing = failing
        self.per_worker = per_worker
        self.left = 0
        self.commands = []

    def __call__(self, arguments):
        if arguments[0] == "git":
            return HEAD + "\n"
        self.commands.append(arguments[3:])
        return getattr(self, "_".join(arguments[3:5]))(arguments[5:])

    def exp_run(self, arguments):
        name = arguments[arguments.index("--name") + 1]
        assert name not in self.tasks
        self.tasks[name] = "Queued"
        return ""

    def queue_remove(self, arguments):
        assert self.tasks.pop(arguments[0]) == "Failed"
        return ""

    def queue_start(self, arguments):
        self.left = self.per_worker
        return ""

    def queue_status(self, arguments):
        for name, state in self.tasks.items():
            if state == "Running":
                self.tasks[name] = "Failed" if int(name.split("-")[2]) in self.failing else "Success"
                break
        else:
            for name, state in self.tasks.items():
                if state == "Queued" and self.left:
                    self.tasks[name], self.left = "Running", self.left - 1
                    break
        rows = [f"{number:07x}  {name:<30}  04:{number:02d} PM  {state}" for number, (name, state) in enumerate(self.tasks.items())]
        working = "Running" in self.tasks.values() or (self.left and "Queued" in self.tasks.values())
        return "Task     Name   Created   Status\n" + "\n".join(rows) + f"\n\nWorker status: {int(working)} active, 0 idle\n"

    def exp_show(self, arguments):
        experiments = []
        for name, state in self.tasks.items():
            accuracy = 80.0 + int(name.split("-")[2]) + 4 * ("gdas" in name)
            metrics = {"evaluate.json": {"data": {"test_acc": accuracy}}, "resources.json": {"data": {"search_s": 9.0}}}
            data = {"metrics": metrics if state == "Success" else {"evaluate.json": {"error": {}}}}
            experiments.append({"name": name, "executor": {"state": state.lower()}, "revs": [{"rev": name, "data": data}]})
        other = {"rev": "2" * 40, "experiments": [{"name": "compare-gdas-0-x", "executor": None, "revs": [{"rev": "x", "data": {}}]}]}
        return json.dumps([{"rev": "workspace", "experiments": None}, {"rev": HEAD, "experiments": experiments}, other])


def experiments(seeds=(0, 1, 2)):
    return [
        Experiment(name=f"compare-{method}-{seed}-ab", method=method, seed=seed, changes=(f"++seed={seed}",))
        for seed in seeds
        for method in ("gdas", "random_search")
    ]


def run(played, tmp_path, planned=None):
    return compare(planned or experiments(), Queue(played, poll_s=0.0, wait=lambda seconds: None), jobs=1, out=tmp_path)


def test_all_run_although_workers_end_early_and_one_table_comes_of_it(tmp_path, capsys):
    played = Played()
    assert run(played, tmp_path) == 0
    out, err = capsys.readouterr()
    assert sum(each[:2] == ["queue", "start"] for each in played.commands) == 3
    assert re.search(r"gdas +3 +85\.00 +1\.00 +\+4\.00 +\+4\.00 to \+4\.00 +9\n", out)
    assert re.search(r"random_search +3 +81\.00 +1\.00 +- +- +9\n", out)
    assert "compare-gdas-0-ab: running\n" in err
    assert "compare-gdas-0-ab: success\n" in err
    assert ["exp", "run", "--queue", "--name", "compare-gdas-1-ab", "-S", "++seed=1"] in played.commands
    assert (tmp_path / "methods.csv").exists()


def test_what_is_done_is_not_run_again(tmp_path, capsys):
    played = Played()
    run(played, tmp_path, experiments(seeds=[0]))
    played.commands.clear()
    assert run(played, tmp_path, experiments(seeds=[0, 1])) == 0
    assert [each[4] for each in played.commands if each[:2] == ["exp", "run"]] == ["compare-gdas-1-ab", "compare-random_search-1-ab"]
    assert "4 experiments, 2 of them done." in capsys.readouterr().err
    played.commands.clear()
    assert run(played, tmp_path, experiments(seeds=[0, 1])) == 0
    assert played.commands == [["exp", "show", "--json"]]


def test_a_failed_one_is_named_the_others_are_kept_and_it_runs_again_next_time(tmp_path, capsys):
    played = Played(failing=[1])
    assert run(played, tmp_path) == 1
    out, err = capsys.readouterr()
    assert "gdas, seed 1: failed, and is not in the table. See: dvc queue logs compare-gdas-1-ab\n" in err
    assert re.search(r"gdas +2 +85\.00", out)
    played.failing = []
    assert run(played, tmp_path) == 0
    assert ["queue", "remove", "compare-gdas-1-ab"] in played.commands
    assert re.search(r"gdas +3 +85\.00", capsys.readouterr().out)


def test_a_queue_that_gets_nowhere_is_not_waited_for(tmp_path):
    with pytest.raises(ExperimentError, match="DVC's worker ends and leaves experiments in the queue"):
        run(Played(per_worker=0), tmp_path)


def test_interrupted_it_says_how_to_go_on(tmp_path, capsys):
    def interrupt(seconds):
        raise KeyboardInterrupt

    assert compare(experiments(), Queue(Played(), wait=interrupt), jobs=1, out=tmp_path) == 1
    assert "the same command follows them again" in capsys.readouterr().err


def test_a_worker_that_takes_its_time_is_not_started_twice(tmp_path):
    """Until it shows itself nothing says that it is there; a second one would run experiments beside it."""

    class Slow(Played):
        unseen = 0

        def queue_start(self, arguments):
            self.unseen = 5
            return super().queue_start(arguments)

        def queue_status(self, arguments):
            if self.unseen:
                self.unseen -= 1
                left, self.left = self.left, 0
                text = super().queue_status(arguments)
                self.left = left
                return text
            return super().queue_status(arguments)

    played = Slow(per_worker=99)
    assert run(played, tmp_path) == 0
    assert played.commands.count(["queue", "start", "--jobs", "1"]) == 1


def test_a_command_that_leaves_a_worker_behind_is_not_waited_for_until_that_ends(tmp_path):
    leave = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']).pid)"
    worker = psutil.Process(int(command(tmp_path)([sys.executable, "-c", leave])))
    assert worker.status() != psutil.STATUS_ZOMBIE, "it has ended"
    worker.kill()


def test_git_is_needed_and_changes_must_be_committed(tmp_path):
    with pytest.raises(ExperimentError, match=r"A git repository expected"):
        require_committed(command(tmp_path))
    git = command(tmp_path)
    git(["git", "init", "--quiet", "."])
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    require_committed(git)  # untracked files are in no experiment
    git(["git", "add", "params.yaml"])
    with pytest.raises(ExperimentError, match=r"not committed .*\n.*params\.yaml"):
        require_committed(git)
    with pytest.raises(ExperimentError, match="no-such-program: cannot be run"):
        git(["no-such-program"])
