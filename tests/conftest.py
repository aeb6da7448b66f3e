"""One thread a test process: pytest runs as many of them as there are cores, and threads that wait for one another in each collapse."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in the processes that tests start
