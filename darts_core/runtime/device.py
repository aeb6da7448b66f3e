"""``runtime.device`` of ``params.yaml`` -> ``torch.device``. Not run on a GPU yet: tested with a fake one."""

from __future__ import annotations

import re

import torch


def resolve(name: str) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; a ROCm card is ``cuda``, too, as torch has it.

    ``auto`` is the first GPU where torch sees one, else the CPU; ``cuda`` is ``cuda:0``.
    Raise ``ValueError`` that names ``runtime.device`` for another name, or a GPU that is not there.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    match = re.fullmatch(r"(?:auto|cuda)|cuda:(\d+)", name)
    if match is None:
        hint = " A ROCm card is called cuda." if name.startswith(("hip", "rocm")) else ""
        raise ValueError(f"runtime.device: 'auto', 'cpu', 'cuda' or 'cuda:N' expected. Got {name!r}.{hint}")
    if not torch.cuda.is_available():
        raise ValueError(f"runtime.device: {name!r} asks for a GPU, but {_why_no_gpu()} Set runtime.device to auto or cpu.")
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise ValueError(f"runtime.device: torch sees {count} GPU(s), so cuda:0 to cuda:{count - 1} expected. Got {name!r}.")
    return torch.device("cuda", index)


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for the CPU alone."
    return f"torch {torch.__version__} sees none (driver, HIP_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES?)."


def backend_name(device: torch.device) -> str:
    """Return ``cpu``, ``cuda`` (NVIDIA) or ``rocm`` (AMD; torch's device type is ``cuda`` for both)."""
    if device.type != "cuda":
        return device.type
    return "rocm" if torch.version.hip else "cuda"


def synchronize(device: torch.device) -> None:
    """Wait until the GPU has done what it was given; on the CPU there is nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
