"""One thread a test process: pytest runs as many of them as there are cores, and threads that wait for one another in each collapse."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in the processes that tests start


class Computed(list):
    """The names of what was computed, in order; once there are ``killed_after`` of them the next one is not begun but ``Killed`` raised."""

    class Killed(Exception):
        pass

    killed_after = None

    def noting(self, name, compute):
        """Return ``compute`` as it notes its ``name``."""

        def note(*args, **options):
            if len(self) == self.killed_after:
                raise self.Killed
            result = compute(*args, **options)
            self.append(name)
            return result

        return note


@pytest.fixture
def computed(monkeypatch):
    """What a selection computes: its evaluations and its epochs of tuning."""
    from darts_core.engine import selection

    done = Computed()
    for name in ("mean_quality", "train_epoch"):
        monkeypatch.setattr(selection, name, done.noting(name, getattr(selection, name)))
    return done
