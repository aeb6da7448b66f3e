"""Search methods: one recipe a file, each a ``Method`` made of parts."""

from darts_core.registry import Registry, discover
from darts_core.search.method import Method
from darts_core.search.parts import with_parts

METHODS: Registry[Method] = Registry("method", key="method", common=with_parts)

discover(__name__)
