"""Compare the project with the published reference's numbers: ``python -m tests.oracle.check_reference ../shared/reference``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.oracle import recurrent, reference


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write(
            "usage: python -m tests.oracle.check_reference FOLDER (the folder that holds darts_cnn_search.pt and the others)\n"
        )
        return 2
    torch.set_num_threads(1)
    passed = failed = 0
    for title, check in {**reference.CHECKS, **recurrent.CHECKS}.items():
        outcomes = list(check(Path(arguments[0])))
        faults = [(name, fault) for name, fault in outcomes if fault is not None]
        passed += len(outcomes) - len(faults)
        failed += len(faults)
        sys.stdout.write(f"{title}: {len(outcomes) - len(faults)} of {len(outcomes)}\n")
        for name, fault in faults:
            sys.stdout.write(f"  FAILED {name}: {fault}\n")
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
