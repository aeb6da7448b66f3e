"""Search spaces: which operations may stand on which edges, and the networks that follow."""

from darts_core.registry import Registry, discover
from darts_core.spaces.space import Space

SPACES: Registry[Space] = Registry("space", key="space")

discover(__name__)
