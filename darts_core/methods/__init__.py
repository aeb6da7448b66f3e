"""Search methods: one recipe a file, each a ``Method`` made of parts."""

from darts_core.registry import Registry, discover
from darts_core.search.method import Method

METHODS: Registry[Method] = Registry("method", key="method")

discover(__name__)
