"""Search spaces: which operations may stand on which edges, and the networks that follow."""

from darts_core.registry import Registry, discover
from darts_core.spaces.restrict import restricted
from darts_core.spaces.space import CellSpace

SPACES: Registry[CellSpace] = Registry("space", key="space", common=restricted)

discover(__name__)
