"""One name a device: what drivers report, made comparable."""

from __future__ import annotations

import re

# Boards of one chip that differ by compute units: drivers give them one name, or none, so the count decides.
_GFX803_BOARDS = {36: "Radeon RX 480/580", 32: "Radeon RX 470/570/580 2048SP"}
_NO_NAME = {"", "radeon graphics"}


def gpu_name(reported: str, *, vendor: str, arch: str | None, cu_count: int | None) -> str:
    """Return the marketing name without vendor and decoration: "AMD Radeon RX 580 Series" -> "Radeon RX 580".

    An empty or generic name becomes the boards that the compute units allow, else "AMD GPU"; an "RX 580" with 32 compute units
    is the 2048SP board, whatever the driver says.
    """
    name = _tidy(re.sub(r"^(amd|nvidia|advanced micro devices, inc\.)\s+|\s+series$", "", _tidy(reported), flags=re.IGNORECASE))
    board = _GFX803_BOARDS.get(cu_count or 0) if arch == "gfx803" else None
    if name.lower() in _NO_NAME:
        return board or f"{vendor.upper()} GPU"
    if name.endswith("RX 580") and cu_count == 32:
        return f"{name} 2048SP"
    return name


def cpu_name(reported: str) -> str:
    """Return a processor's name without decoration, core count and clock: "AMD Ryzen 5 3600 6-Core Processor" -> "AMD Ryzen 5 3600"."""
    return _tidy(re.sub(r"\s+(\d+-core processor|processor|cpu)?(\s*@.*)?$", "", _tidy(reported), flags=re.IGNORECASE))


def slug(*parts: str | None) -> str:
    """Join what is known to a file-safe id: ``("amd", "gfx803", "36cu", "8g")`` -> "amd-gfx803-36cu-8g"."""
    return "-".join(re.sub(r"[^a-z0-9_]+", "-", part.lower()).strip("-") for part in parts if part)


def _tidy(name: str) -> str:
    return " ".join(re.sub(r"\((?:tm|r|c)\)", " ", name, flags=re.IGNORECASE).split())
