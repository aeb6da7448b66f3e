"""The MLflow UI: the command that starts it quickly, and the link that opens the right view."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from darts_core.config import Config
from darts_core.tracking.store import TrackingError, connect, store_uri

VIEW = "runs?workflowType=machine_learning&compareRunsMode=CHART"  # else it opens in its other mode and looks empty
ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}  # 0.5 GB and 4 s, not 1.2 and 20
NUM_PORTS = 50


@dataclass(frozen=True)
class Ui:
    """How to see the runs. ``command`` is empty where a server is running already; ``environment`` is added to the caller's."""

    command: tuple[str, ...]
    link: str
    environment: Mapping[str, str] = field(default_factory=dict)


def ui_command(cfg: Config, *, port: int = 5000) -> Ui:
    """Return the command and the link for the store of ``cfg``, on ``port`` or the next that is free.

    Raise ``TrackingError`` where there is nothing to show yet, or no port is free.
    """
    store = connect(cfg, create=False)
    uri = store_uri(cfg)
    view = f"#/experiments/{store.experiment_id}/{VIEW}"
    if uri.startswith("http"):
        return Ui((), f"{uri.rstrip('/')}/{view}")
    port = _free_port(port)
    command = (sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--workers", "1", "--port", str(port))
    return Ui(command, f"http://127.0.0.1:{port}/{view}", ENVIRONMENT)


def _free_port(first: int) -> int:
    for port in range(first, first + NUM_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise TrackingError(f"No port from {first} to {first + NUM_PORTS - 1} is free. Choose another one: darts ui --port N.")
