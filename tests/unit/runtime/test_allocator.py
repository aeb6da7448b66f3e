"""In processes of their own, for the allocator's settings last as long as the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from darts_core.runtime import allocator

COUNT_PAGE_FAULTS = """
import resource, sys, torch
from darts_core.runtime.allocator import keep_freed_memory
if "keep" in sys.argv:
    assert keep_freed_memory()
def use():
    tensors = [torch.ones(10 << 20) for _ in range(2)]
for _ in range(3):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*arguments):
    command = [sys.executable, "-c", COUNT_PAGE_FAULTS, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
@pytest.mark.skipif(HUGE_PAGES.is_file() and "[always]" in HUGE_PAGES.read_text(), reason="huge pages make few faults of many")
def test_freed_memory_is_used_again_without_new_pages():
    """Ten times 80 MiB are 204,800 pages of 4 KiB, each a fault where the block has come anew from the kernel."""
    # Where the system put the heap decides how much of it can grow in one piece: the best of three processes.
    assert min(page_faults("keep") for _ in range(3)) < page_faults() / 2


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()


def test_a_c_library_without_the_switch_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()


def test_an_old_library_that_refuses_large_blocks_is_asked_for_less(monkeypatch):
    asked = []

    class Libc:
        @staticmethod
        def mallopt(key, value):
            asked.append((key, value))
            return int(value <= 2**25)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: Libc())
    assert allocator.keep_freed_memory()
    assert asked == [(-3, 2**30), (-3, 2**25), (-1, -1)]
