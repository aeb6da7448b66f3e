"""A text as columns that are read side by side."""

from __future__ import annotations

from torch import Tensor


def columns(ids_N: Tensor, batch_size: int, bptt: int, *, keys: tuple[str, str] = ("retrain.batch_size", "retrain.bptt")) -> Tensor:
    """Return the text as ``batch_size`` columns (L, B), each a contiguous piece; what is left over at the end is dropped.

    Raise ``ValueError`` where it does not fill one window of ``bptt`` steps and the token after it: ``keys`` are those of both numbers
    in params.yaml.
    """
    check_columns(len(ids_N), batch_size, bptt, keys=keys)
    length = len(ids_N) // batch_size
    return ids_N[: length * batch_size].view(batch_size, length).t().contiguous()


def check_columns(num_tokens: int, batch_size: int, bptt: int, *, keys: tuple[str, str], name: str = "text") -> None:
    """Raise the ``ValueError`` of :func:`columns` for a text, called ``name``, of which nothing but its length is known."""
    if batch_size < 1 or bptt < 1:
        raise ValueError(f"{keys[0]} and {keys[1]} must be at least 1. Got {batch_size} and {bptt}.")
    if num_tokens < batch_size * (bptt + 1):
        raise ValueError(
            f"The {name} has {num_tokens} tokens here, fewer than one batch of {batch_size} windows of {bptt} + 1. "
            f"Lower {keys[0]} or {keys[1]}, or give more text."
        )
