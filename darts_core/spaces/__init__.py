"""Search spaces: which operations may stand on which edges, and the networks that follow."""

from typing import Any

from darts_core.registry import Registry, discover
from darts_core.spaces.restrict import restricted

SPACES: Registry[Any] = Registry("space", key="space", common=restricted)

discover(__name__)
