"""Which process is this, and is that one still there? Process ids alone are used again."""

from __future__ import annotations

import socket

import psutil

CLOCK_TOLERANCE_S = 2.0  # the start time is derived from the boot time, which moves when the clock is set


def this_process() -> str:
    """Return ``host@pid@start`` of this process (start in whole seconds since the epoch)."""
    process = psutil.Process()
    return f"{socket.gethostname()}@{process.pid}@{process.create_time():.0f}"


def is_on_this_host(tag: str) -> bool:
    """Return whether ``tag`` was made by :func:`this_process` on this host."""
    return tag.partition("@")[0] == socket.gethostname() and tag.count("@") == 2


def is_gone(tag: str) -> bool:
    """Return whether the process behind ``tag`` has ended. One of another host counts as there: nobody can tell."""
    if not is_on_this_host(tag):
        return False
    _, pid, start = tag.split("@")
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(start)) > CLOCK_TOLERANCE_S
    except psutil.NoSuchProcess:
        return True
