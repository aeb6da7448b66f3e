"""What the kernels of :mod:`darts_core.ops.native` make of a candidate operation."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from darts_core.ops.conv import ReluFirst
from darts_core.ops.native.block import bn_fits, is_plain
from darts_core.ops.native.library import SUFFIXES
from darts_core.ops.native.terms import Pool
from darts_core.supernet.plan import Candidate, plan
from darts_core.supernet.shared import PLAIN_POOL, POOLS

_DEVICES = ("cpu", "meta")  # on meta nothing is computed, but what is kept is known
_MOST_PLANS = 256  # every cell of a deep supernet in each way in which it is computed; of sampled paths there is no end
Kind = tuple[torch.device, torch.dtype, int]
"""Device, precision and channels of a state."""


def kind_of(x: Tensor) -> Kind:
    """Return the kind of a state."""
    return x.device, x.dtype, x.shape[1]


class Candidates:
    """What the kernels make of each operation, on states of each kind: looked up once, for it takes as long as a small block.

    ``plan`` is :func:`darts_core.supernet.plan.plan`, which finds a cell once, too.

    Seen again is an operation whose parts are others, or a BatchNorm that has become another; not a convolution of another geometry.
    """

    def __init__(self) -> None:
        self.plan = lru_cache(maxsize=_MOST_PLANS)(plan)
        self._known: dict[tuple[int, Kind], tuple[nn.Module, tuple[nn.Module | None, ...], Candidate | None]] = {}

    def find(self, op: nn.Module, like: Tensor, kind: Kind) -> Candidate | None:
        """Return what ``op`` is on states such as ``like``, of ``kind``; None for what the kernels do not know."""
        parts = tuple(op._modules.values())  # as children() names them, in a tenth of its time
        known, known_parts, found = self._known.get((id(op), kind), (None, (), None))
        if known is not op or known_parts != parts or not _is_as_found(found):
            found = _candidate(op, like)
            self._known[id(op), kind] = op, parts, found
        return found

    def find_usable(self, op: nn.Module, like: Tensor, kind: Kind) -> Candidate | None:
        """Return what ``op`` is, unless it is to be differentiated in evaluation mode: there the kernels have no gradient."""
        found = self.find(op, like, kind)
        if found is not None and torch.is_grad_enabled():
            for bn in found.bns:
                if not bn.training:
                    return None
        return found


def _is_as_found(candidate: Candidate | None) -> bool:
    if candidate is None:
        return False  # what the kernels do not know may have become what they know
    for bn in candidate.bns:
        if bn.affine or not bn.track_running_stats:
            return False
    return candidate.pool is None or candidate.bn is None or candidate.pool.eps == candidate.bn.eps


def _candidate(op: nn.Module, like: Tensor) -> Candidate | None:
    if like.device.type not in _DEVICES or like.dtype not in SUFFIXES:
        return None
    if isinstance(op, nn.Identity):
        return Candidate()
    if isinstance(op, ReluFirst) and type(op).forward is ReluFirst.forward:
        blocks, fit = op.blocks, op.fit
        if fit is not None and fit.has_kernel and fit.fits(like):
            return Candidate(fit=fit, bn=fit.bn)
        suits = all(block.has_kernel and block.fits(like) for block in blocks)
        return Candidate(blocks=blocks) if blocks and suits and all(block.keeps_size for block in blocks[1:]) else None
    if isinstance(op, nn.Sequential) and len(op) == 2:
        pool, bn = op
        if not isinstance(pool, POOLS) or not isinstance(bn, nn.BatchNorm2d) or pool.stride not in (1, 2):
            return None
        if all(getattr(pool, name, value) == value for name, value in PLAIN_POOL.items()) and is_plain(bn) and bn_fits(bn, like):
            return Candidate(pool=Pool(-1, isinstance(pool, nn.MaxPool2d), int(pool.stride), bn.eps), bn=bn)
    return None
