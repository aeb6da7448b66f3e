"""Named random streams: each purpose has a generator of its own, so that a draw more in one place changes nothing in another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, name: str) -> int:
    """Return a 63-bit seed for the stream ``name`` of the run's ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, name: str) -> torch.Generator:
    """Return a CPU generator for the stream ``name``; devices get what it draws, so that all start alike."""
    return torch.Generator().manual_seed(derived_seed(seed, name))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Let torch's default CPU generator follow the stream ``name`` (for ``nn.Module`` initialisers), and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, name))
        yield
