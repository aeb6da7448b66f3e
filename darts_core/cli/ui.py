"""``darts ui``: the MLflow UI, started the quick way, at the view that compares runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from darts_core.cli.command import Command

if TYPE_CHECKING:
    from darts_core.tracking import Ui

PATIENCE_S = 60


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``darts ui``."""
    parser.add_argument("--port", type=_port, default=5000, metavar="N", help="first port to try (default: 5000)")
    parser.add_argument("--no-open", action="store_true", help="print the link, but open no browser")


def run(args: argparse.Namespace) -> int:
    """Start the UI of the store that params.yaml names and wait for Ctrl-C; where a server runs already, only open the link."""
    from darts_core.config import load
    from darts_core.tracking import TrackingError, ui_command

    try:
        ui = ui_command(load(Path("params.yaml")), port=args.port)
    except TrackingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{ui.link}\n" + ("Ctrl-C ends it.\n" if ui.command else ""))
    sys.stdout.flush()
    if not ui.command:
        if not args.no_open:
            webbrowser.open(ui.link)
        return 0
    return _serve(ui, opens=not args.no_open)


def _serve(ui: Ui, *, opens: bool) -> int:
    """Run the server until it ends or a signal ends it, whenever that comes; return its status, 0 after a signal."""
    servers: list[subprocess.Popen[bytes]] = []
    signals: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        signals.append(number)
        for server in servers:
            _terminate(server)

    former = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        # In a session of its own, Ctrl-C does not reach it: it would answer with tracebacks. It is ended here, workers too.
        server = subprocess.Popen(ui.command, env={**os.environ, **ui.environment}, start_new_session=True)  # noqa: S603 - our own command
        servers.append(server)
        if signals:  # it came while the server was started
            _terminate(server)
        elif opens:
            threading.Thread(target=_open_when_up, args=(server, ui.link), daemon=True).start()
        status = server.wait()
        _terminate(server)  # workers that it has left
        return 0 if signals else status
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _terminate(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)


def _open_when_up(server: subprocess.Popen[bytes], link: str) -> None:
    """Open the browser as soon as the server answers; a browser that comes too early shows an error page."""
    pause = threading.Event()
    for _ in range(2 * PATIENCE_S):
        if server.poll() is not None:
            return
        try:
            with urllib.request.urlopen(link.partition("#")[0], timeout=1):  # noqa: S310 - http on this machine
                webbrowser.open(link)
                return
        except (urllib.error.URLError, OSError):
            pause.wait(0.5)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a number from 1 to 65535 expected. Got '{text}'")
    return int(text)


COMMAND = Command(summary="start MLflow's UI where the runs are compared, and open it", declare=declare, run=run)
