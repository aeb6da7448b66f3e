"""Shared libraries built from C++ sources on the user's own machine, once, for its own processor."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LOG = logging.getLogger(__name__)

CACHE_VARIABLE = "DARTS_CACHE_DIR"
COMPILERS = ("c++", "g++", "clang++")  # after the one that CXX names
ARM = ("aarch64", "arm64")
TUNING = (("-march=native",), ("-mcpu=native",))  # elsewhere, and on ARM
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread", "-fno-math-errno", "-fno-trapping-math")
BUILD_SECONDS = 600
_BUILDING = "building-"
_COMPLAINTS = ("error", "failed")  # the linker says of a full disk that it failed, ahead of an error without a reason
_NO_COMPILER = f"no C++ compiler: none of {', '.join(COMPILERS)} is on PATH, and CXX names none"


class BuildError(RuntimeError):
    """A library could not be built or loaded; the message is one line that says why."""


def cache_folder() -> Path:
    """Return the folder of built libraries: ``DARTS_CACHE_DIR``, else ``darts`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "darts"


def built_library(source: Path) -> Path:
    """Return where the library of ``source`` and the headers beside it lies once it is built.

    Another source, header, processor or set of flags, those that CXX gives among them, has another place. Raises BuildError.
    """
    key = hashlib.sha256()
    headers = sorted(source.parent.glob("*.h"))
    for part in (
        *(path.read_bytes() for path in (source, *headers)),
        repr((TUNING, FLAGS, *_wanted()[1:])).encode(),
        _seal(b""),  # what was built without one is no damaged library, but another
        platform.machine().encode(),
        _processor().encode(),
    ):
        key.update(len(part).to_bytes(8, "little") + part)
    return cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"


def load_library(source: Path) -> ctypes.CDLL:
    """Return the library of ``source``, built if it is not there yet.

    Raises BuildError without a compiler, after a failed build, for a folder or library that others may write to, or a library that does
    not load.
    """
    try:
        library = built_library(source)
        library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (library.parent, library):
            if os.path.lexists(path) and not _is_private(path):
                reason = "belongs to, or may be changed by, somebody else"
                raise BuildError(f"{path} {reason}; make it yours alone, or set {CACHE_VARIABLE} to another folder")
        if library.exists():
            try:
                if _is_whole(library):
                    return ctypes.CDLL(str(library))
                LOG.info("native kernels: %s is damaged.", library)
            except OSError as error:
                LOG.info("native kernels: %s does not load (%s).", library, error)
        _build(source, library)
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError without a home
        raise (
            error if isinstance(error, BuildError) else BuildError(f"the native kernels cannot be built, kept or loaded: {error}")
        ) from error


def _build(source: Path, library: Path) -> None:
    compiler = find_compiler()
    LOG.info("native kernels: building %s with %s, once, about half a minute.", source.name, compiler[0])
    started = time.perf_counter()
    _remove_left_over(library.parent)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=_BUILDING) as folder:
        made = Path(folder) / library.name
        failures = [_compile([*compiler, *TUNING[platform.machine() in ARM], *FLAGS, str(source), "-o", str(made)])]
        if failures[0]:  # an older compiler may not know this processor
            failures.append(_compile([*compiler, *FLAGS, str(source), "-o", str(made)]))
        if failures[-1]:
            raise BuildError(f"{compiler[0]} failed: {failures[-1]}")
        made.chmod(0o700)
        with made.open("rb+") as file:
            file.write(_seal(file.read()))
            file.flush()
            os.fsync(file.fileno())  # ahead of its name: to load half a library ends the process
        made.replace(library)  # whole or not at all, also when two processes build at once
    LOG.info("native kernels: built in %.0f s, kept as %s.", time.perf_counter() - started, library)


def _seal(content: bytes) -> bytes:
    """Return what is added to a library to know it by; nothing where a longer file might not load."""
    return hashlib.sha256(content).digest() if sys.platform.startswith("linux") else b""


def _is_whole(library: Path) -> bool:
    """Whether a library is as it was built. Half of one does not fail to load: it ends the process."""
    content = library.read_bytes()
    end = len(content) - len(_seal(b""))
    return end >= 0 and content[end:] == _seal(content[:end])


def _remove_left_over(folder: Path) -> None:
    """Remove what builds that were killed have left, which are over by now."""
    for left in folder.glob(f"{_BUILDING}*"):
        with contextlib.suppress(OSError):  # another process removes it, too
            if time.time() - left.stat().st_mtime > 2 * BUILD_SECONDS:
                shutil.rmtree(left)


def _compile(command: Sequence[str]) -> str:
    """Return the first complaint of a compiler, or nothing if there is none."""
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # it is ended with what it has started
    ) as compiling:
        try:
            _, told = compiling.communicate(timeout=BUILD_SECONDS)
        except BaseException as error:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(compiling.pid, signal.SIGKILL)
            compiling.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise BuildError(f"{command[0]} took more than {BUILD_SECONDS} s") from error
            raise
    if compiling.returncode == 0:
        return ""
    every = told.splitlines()
    return next((line for line in every if any(word in line.lower() for word in _COMPLAINTS)), next(iter(every), "no message"))


def find_compiler() -> list[str]:
    """Return the C++ compiler that CXX names, with its options, else the first that is found. Raises BuildError."""
    wanted = _wanted()
    for name, *options in [wanted] if wanted else [[name] for name in COMPILERS]:
        if found := shutil.which(name):
            return [found, *options]
    raise BuildError(f"no C++ compiler: CXX names {wanted[0]!r}, which is not found" if wanted else _NO_COMPILER)


def _wanted() -> list[str]:
    """Return the words of CXX: a compiler and its options."""
    value = os.environ.get("CXX", "")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise BuildError(f"CXX cannot be split into words: {error}. Got {value!r}") from error


def _is_private(path: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        return False
    return state.st_uid in (os.getuid(), 0) and not state.st_mode & 0o022


def _processor() -> str:
    """Return the instruction sets of this processor as the system names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name", "CPU part"))}))
