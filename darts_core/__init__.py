"""Differentiable architecture search, from a folder of images to a network that was honestly evaluated."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts_core.api import SearchResult as SearchResult
    from darts_core.api import search_architecture as search_architecture

__all__ = ["SearchResult", "search_architecture"]


def __getattr__(name: str) -> Any:
    """Load the public functions when they are asked for, so that importing a part of the package loads that part alone."""
    if name in __all__:
        from darts_core import api

        return getattr(api, name)
    raise AttributeError(f"module 'darts_core' has no attribute '{name}'")
