"""What the device is: vendor, name, architecture, size, and the versions of what drives it.

GPU properties are read one by one, each may be missing (builds of torch differ); what is unknown is null, never a guess.
The part for GPUs has not run on a GPU yet: it is tested with fake properties.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil
import torch

from darts_core.hardware.names import cpu_name, gpu_name, slug
from darts_core.runtime.device import backend_name

SCHEMA_VERSION = 1
_MIB = 2**20
_CPUINFO = Path("/proc/cpuinfo")
_CPU_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
# The instruction sets that decide how fast a convolution can be.
_ISA = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "sve",
    "i8mm",
)


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return the facts of ``device`` and its host as JSON-able values (schema version 1); unknown is None.

    Keys: type, backend, vendor, name, reported_name, arch, cu_count (compute units, or multiprocessors on NVIDIA; None on a CPU),
    vram_mib, slug, description, host {os, kernel, machine, cpu, isa, cpu_capability, cores, ram_mib} and versions.
    """
    host = _host()
    own = _gpu(device) if device.type == "cuda" else _cpu(host)
    return {
        "schema_version": SCHEMA_VERSION,
        "type": device.type,
        "backend": backend_name(device),
        **own,
        "host": host,
        "versions": _versions(),
    }


def describe(device: torch.device, *, num_threads: int | None = None) -> str:
    """Return one line: "Radeon RX 580 / gfx803 / 36 CU" or "AMD EPYC / x86_64 / 2 cores".

    With ``num_threads`` that of a CPU says how much of it computes: "AMD EPYC / x86_64 / 1 thread of 2 cores".
    """
    facts = device_facts(device)
    if num_threads is None or device.type != "cpu":
        return str(facts["description"])
    cores = _counted(facts["host"]["cores"], "core")
    return f"{facts['name']} / {facts['arch']} / {_counted(num_threads, 'thread')} of {cores}"


def check_arch_supported(device: torch.device) -> None:
    """Raise ``ValueError`` where this torch holds no kernels for the GPU, which would otherwise end in an abort at the first one.

    An AMD GPU needs its own architecture in the list. NVIDIA's is forward compatible within a major version (sm_80 code runs on
    sm_86, but that of sm_90a on sm_90 alone), and compute_XY is compiled for any later one. What cannot be told passes.
    """
    if device.type != "cuda":
        return
    facts, built = _gpu(device), torch.cuda.get_arch_list()
    arch = facts["arch"]
    if arch is None or not built or any(_runs(code, arch) for code in built):
        return
    raise ValueError(
        f"runtime.device: this torch ({torch.__version__}) has no kernels for {arch} ({facts['name']}), only for {', '.join(built)}. "
        f"Install a build of torch for {arch}, or set runtime.device to cpu."
    )


def _runs(code: str, arch: str) -> bool:
    if arch in (code, code.rstrip("af")):
        return True
    made, wanted = (re.fullmatch(r"(sm|compute)_(\d+)(\d)", text) for text in (code, arch))
    if made is None or wanted is None or int(made[2] + made[3]) > int(wanted[2] + wanted[3]):
        return False
    return made[1] == "compute" or made[2] == wanted[2]


def _gpu(device: torch.device) -> dict[str, Any]:
    p = torch.cuda.get_device_properties(device)
    vendor = "amd" if torch.version.hip else "nvidia"
    if torch.version.hip:
        arch = str(getattr(p, "gcnArchName", None) or "").partition(":")[0] or None
    else:
        major, minor = getattr(p, "major", None), getattr(p, "minor", None)
        arch = None if major is None or minor is None else f"sm_{major}{minor}"
    reported = str(getattr(p, "name", None) or "")
    units, total = getattr(p, "multi_processor_count", None), getattr(p, "total_memory", None)
    name = gpu_name(reported, vendor=vendor, arch=arch, cu_count=units)
    unit = "CU" if vendor == "amd" else "SM"
    return {
        "vendor": vendor,
        "name": name,
        "reported_name": reported,
        "arch": arch,
        "cu_count": units,
        "vram_mib": None if total is None else round(total / _MIB),
        "slug": slug(vendor, arch, units and f"{units}{unit}", total and f"{round(total / 2**30)}g"),
        "description": " / ".join(part for part in (name, arch, units and f"{units} {unit}") if part),
    }


def _cpu(host: dict[str, Any]) -> dict[str, Any]:
    return {
        "vendor": host["cpu_vendor"],
        "name": host["cpu"],
        "reported_name": host["cpu"],
        "arch": host["machine"],
        "cu_count": None,
        "vram_mib": None,
        "slug": slug("cpu", host["cpu"], f"{host['cores']}c"),
        "description": f"{host['cpu']} / {host['machine']} / {_counted(host['cores'], 'core')}",
    }


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _host() -> dict[str, Any]:
    cpuinfo = _cpuinfo()
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    affinity = getattr(
        os, "sched_getaffinity", None
    )  # Linux: the cores that this process may use, fewer than the machine has in a container
    return {
        "os": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu_name(cpuinfo.get("model name") or platform.processor() or platform.machine()),
        "cpu_vendor": _CPU_VENDORS.get(cpuinfo.get("vendor_id", "")),
        "isa": [flag for flag in _ISA if flag in flags],
        "cpu_capability": None if capability is None else capability(),
        "cores": len(affinity(0)) if affinity is not None else (os.cpu_count() or 1),
        "ram_mib": round(psutil.virtual_memory().total / _MIB),
    }


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; empty where there is none."""
    text = _read(_CPUINFO) or ""
    pairs = (line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _versions() -> dict[str, str | None]:
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": None if cudnn is None else str(cudnn),  # on ROCm torch answers with MIOpen's version
        "rocm": _read(Path("/opt/rocm/.info/version")),
        "amdgpu_driver": _read(Path("/sys/module/amdgpu/version")),
        "nvidia_driver": _read(Path("/sys/module/nvidia/version")),
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
