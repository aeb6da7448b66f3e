"""What produced a result: device, versions, settings, code, data, seeds. It holds no path, user name or host name, and no secret."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from darts_core.hardware.facts import device_facts

SCHEMA_VERSION = 1
PACKAGES = ("darts-core", "torch", "torchvision", "numpy", "pandas", "scikit-learn", "pillow", "pydantic", "dvc", "mlflow")
# Settings that change which kernels run or how: nothing outside this list is recorded.
_ENVIRONMENT = re.compile(
    r"(HSA|HIP|ROC|ROCR|ROCBLAS|MIOPEN|TORCH_BLAS|OMP|KMP|GOMP|MKL)_[A-Z0-9_]+|LD_PRELOAD|CUDA_VISIBLE_DEVICES|CUDA_LAUNCH_BLOCKING"
    r"|NVIDIA_TF32_OVERRIDE|(CUBLAS|HIPBLAS)_WORKSPACE_CONFIG|PYTORCH_([A-Z]+_)?ALLOC_CONF|PYTHONHASHSEED"
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)
_PATH = re.compile(r"(?:[A-Za-z]:)?[^\s:;,=]*[/\\][^\s:;,]*")


def provenance(device: torch.device, *, seeds: Mapping[str, int], data_hash: str, config_hash: str) -> dict[str, Any]:
    """Return the record of a run on ``device`` as JSON-able values (schema version 1).

    ``data_hash`` and ``config_hash`` are the caller's content hashes. Results are comparable bit for bit between equal device, versions,
    flags and environment only; between devices compare distributions over seeds. ``git`` is None outside a checkout; ``dirty`` counts
    changes of tracked files, since a run leaves files of its own behind.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "device": device_facts(device),
        "host_id": _host_id(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "torch_build": {
            "git_version": getattr(torch.version, "git_version", None),
            "config_sha256": hashlib.sha256(torch.__config__.show().encode()).hexdigest(),
        },
        "environment": _environment(os.environ),
        "flags": _flags(),
        "git": _git(),
        "seeds": dict(seeds),
        "data_hash": data_hash,
        "config_hash": config_hash,
    }


def _host_id() -> str:
    """Return a hash that tells two machines apart and names neither."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii")
    except OSError:
        machine = ""
    return hashlib.sha256(f"darts host {machine} {platform.node()}".encode()).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    names = sorted(name for name in variables if _ENVIRONMENT.fullmatch(name) and not _SECRET.search(name))
    return {name: _PATH.sub(_without_folders, variables[name]) for name in names}


def _without_folders(match: re.Match[str]) -> str:
    # A library's file name says which shim was loaded; any other path may name a user, and its hash still tells two apart.
    path = match[0]
    last = re.split(r"[/\\]", path)[-1]
    if re.search(r"\.so(\.\d+)*$", last):
        return last
    return f"<path {hashlib.sha256(path.encode()).hexdigest()[:12]}>"


def _flags() -> dict[str, Any]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    # Since torch 2.9 a precision has a name; older builds have a switch, and reading the switch after the name was set raises.
    conv = getattr(cudnn, "conv", None)
    if conv is not None and hasattr(matmul, "fp32_precision"):
        tf32 = {"matmul_fp32_precision": matmul.fp32_precision, "conv_fp32_precision": conv.fp32_precision}
    else:
        tf32 = {"matmul_allow_tf32": matmul.allow_tf32, "conv_allow_tf32": cudnn.allow_tf32}
    return {
        "cudnn_enabled": cudnn.enabled,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        **tf32,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "default_dtype": str(torch.get_default_dtype()),
        "num_threads": torch.get_num_threads(),
        "num_interop_threads": torch.get_num_interop_threads(),
    }


def _git() -> dict[str, Any] | None:
    commit = _ask_git("rev-parse", "HEAD")
    changes = _ask_git("status", "--porcelain", "--untracked-files=no")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _ask_git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
