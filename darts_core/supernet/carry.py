"""What a supernet takes over from the one before it: all that both have, wider where the new one is wider.

A wider operation repeats the channels of the narrow one in turn, and divides the weights that read a repeated channel by how often it
stands there (Net2WiderNet, Chen et al., arXiv:1511.05641). So a chain of convolutions and BatchNorms that is given repeated channels
returns repeated channels: the function is preserved. The published code of DrNAS does not divide. In a supernet the new channels are
not repeated ones but those that went by before, so that what is preserved there is the operation, not the output of a cell.
A strided skip connection repeats within each of its two halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts_core.supernet.supernet import Supernet


def widened(x: Tensor, shape: torch.Size, *, divides: bool = True) -> Tensor:
    """Return ``x`` in ``shape``: each larger dimension repeats what there is, in turn.

    Along the second, the input channels of a convolution, values are divided by how often their channel stands there, if ``divides``.
    Raise ``ValueError`` where a dimension is smaller.
    """
    for dim, size in enumerate(shape):
        before = x.shape[dim]
        if size < before:
            raise ValueError(f"A phase may not narrow its candidates: {tuple(x.shape)} expected at most. Got {tuple(shape)}.")
        if size > before:
            index = torch.arange(size, device=x.device) % before
            x = x.index_select(dim, index)
            if dim == 1 and divides:
                times = index.bincount(minlength=before)[index].to(x.dtype)
                x = x / times.view(-1, *[1] * (x.ndim - 2))
    return x


@torch.no_grad()
def carry_over(old: Supernet, new: Supernet) -> None:
    """Give ``new`` the weights, statistics, alphas and random states that ``old`` has of it; both of the same cells."""
    state = old.state_dict()
    carried = {name: widened(state[name], value.shape) for name, value in new.state_dict().items() if name in state and _is_weight(name)}
    carried |= {name: state[name] for name in new.state_dict() if name.endswith("_extra_state")}
    carried |= {f"arch.{name}": value for name, value in _of_kept(old, new, dict(old.arch.items())).items()}
    new.load_state_dict(carried)


def _is_weight(name: str) -> bool:
    return not name.startswith("arch.") and not name.endswith("_extra_state")


def _of_kept(old: Supernet, new: Supernet, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``values``, one for each alpha and beta of ``old`` by name, in the form of those of ``new``."""
    found = dict(values)
    for cell_type, offer in old.offers.items():
        whole_EO = offer.spread([found.pop(rows.name) for rows in offer.rows])
        later = new.offers[cell_type]
        found |= dict(zip([rows.name for rows in later.rows], later.gathered(whole_EO)))
    return found


@torch.no_grad()
def carry_optimizers(old: Supernet, new: Supernet, *, weights: tuple[Optimizer, Optimizer], arch: tuple[Optimizer, Optimizer]) -> None:
    """Give the second optimiser of each pair the state of the first one, in the form of the parameters of ``new``."""
    before, after = old.weights(), new.weights()
    for name in after.keys() & before.keys():
        weights[1].state[after[name]] = {
            key: widened(value, after[name].shape, divides=False) if _is_like(value, before[name]) else value
            for key, value in weights[0].state.get(before[name], {}).items()
        }
    alphas, later = dict(old.arch.items()), dict(new.arch.items())
    states: dict[str, dict[str, Any]] = {name: arch[0].state.get(alpha, {}) for name, alpha in alphas.items()}
    for key in {key for state in states.values() for key in state}:
        if not all(key in state for state in states.values()):
            continue
        if all(_is_like(state[key], alphas[name]) for name, state in states.items()):
            found = _of_kept(old, new, {name: state[key] for name, state in states.items()})
        else:
            found = dict.fromkeys(later, next(iter(states.values()))[key])
        for name, alpha in later.items():
            arch[1].state[alpha][key] = found[name].clone() if isinstance(found[name], Tensor) else found[name]


def _is_like(value: Any, parameter: nn.Parameter | Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
