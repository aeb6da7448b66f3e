"""darts ui: the link first, then the server until Ctrl-C; a server that runs already is only linked to."""

import os
import signal
import subprocess
import sys
import threading
import urllib.request
import webbrowser
from contextlib import nullcontext

import pytest

import darts_core.tracking
from darts_core.cli import main
from darts_core.tracking import TrackingError, Ui

LINK = "http://127.0.0.1:5000/#/experiments/1"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A folder with a params.yaml, a browser that only remembers, and a server that always answers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("data: {name: digits}\n")
    links, called = [], threading.Event()
    monkeypatch.setattr(webbrowser, "open", lambda link: (links.append(link), called.set()))
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: nullcontext())
    return links, called


def serve(monkeypatch, ui):
    asked = {}

    def ui_command(cfg, *, port):
        asked.update(experiment=cfg.tracking.experiment, port=port)
        if isinstance(ui, Exception):
            raise ui
        return ui

    monkeypatch.setattr(darts_core.tracking, "ui_command", ui_command)
    return asked


def test_a_running_server_is_only_linked_to(opened, monkeypatch, capsys):
    asked = serve(monkeypatch, Ui((), LINK))
    assert main(["ui", "--port", "6000"]) == 0
    assert asked == {"experiment": "darts", "port": 6000}
    assert capsys.readouterr().out == f"{LINK}\n"
    assert opened[0] == [LINK]


def test_no_open(opened, monkeypatch, capsys):
    serve(monkeypatch, Ui((), LINK))
    assert main(["ui", "--no-open"]) == 0
    assert LINK in capsys.readouterr().out
    assert opened[0] == []


def test_the_server_runs_in_its_environment_and_its_status_counts(opened, monkeypatch, capsys):
    code = "import os, sys, time; time.sleep(1); sys.exit(int(os.environ['STATUS']))"
    serve(monkeypatch, Ui((sys.executable, "-c", code), LINK, {"STATUS": "7"}))
    assert main(["ui"]) == 7
    assert capsys.readouterr().out == f"{LINK}\nCtrl-C ends it.\n"
    assert opened[1].wait(5)
    assert opened[0] == [LINK]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_too(opened, monkeypatch, tmp_path, number):
    """Not only on Ctrl-C: a server that outlives its terminal holds the port."""
    code = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid()))"
    code += f"; os.kill(os.getppid(), {int(number)}); time.sleep(60)"
    serve(monkeypatch, Ui((sys.executable, "-c", code), LINK))
    before = signal.getsignal(number)
    assert main(["ui", "--no-open"]) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert signal.getsignal(number) is before


def test_a_signal_while_the_server_is_started_ends_it_as_well(opened, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    serve(monkeypatch, Ui((sys.executable, "-c", "import time; time.sleep(60)"), LINK))
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    assert main(["ui"]) == 0
    assert started[0].returncode == -signal.SIGTERM
    assert opened[0] == []


def test_nothing_to_show_is_an_error(opened, monkeypatch, capsys):
    serve(monkeypatch, TrackingError("There is no MLflow store yet."))
    assert main(["ui"]) == 1
    assert capsys.readouterr().err == "There is no MLflow store yet.\n"


def test_a_wrong_params_file_is_an_error(opened, capsys):
    with open("params.yaml", "a") as file:
        file.write("sede: 1\n")
    assert main(["ui"]) == 1
    assert "params.yaml:2: sede: not a known key" in capsys.readouterr().err
