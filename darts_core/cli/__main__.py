"""``python -m darts_core.cli``: the ``darts`` command where no script directory is on the path."""

import sys

from darts_core.cli import main

sys.exit(main())
