"""The course of a search through its phases: the supernet of the present one with its optimisers, made and placed where it begins."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import torch

from darts_core.config import SearchConfig
from darts_core.engine.placing import place
from darts_core.engine.schedule import cosine
from darts_core.search.method import Method, check_space
from darts_core.search.phases import Span, spans, strongest_operations
from darts_core.search.steps import Bilevel
from darts_core.spaces.space import CellSpace, Space
from darts_core.supernet.carry import carry_over
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.offer import EdgePrimitives
from darts_core.supernet.supernet import Supernet

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True)
class Course:
    """``supernet``, ``bilevel`` and ``space`` are those of the present phase; the first supernet is given, later ones are made here.

    What a new one is drawn from comes from ``generator``, whose state is in that of ``bilevel``. ``batches`` are those of an epoch, each of
    ``batch_shape``, (B, C, H, W) or (B, T).
    """

    supernet: Supernet
    method: Method
    space: Space
    cfg: SearchConfig
    device: torch.device
    batch_shape: tuple[int, ...]
    batches: int
    generator: torch.Generator
    number: int = 0

    def __post_init__(self) -> None:
        check_space(self.method, self.space)
        self.spans = spans(self.method.phases, self.cfg.epochs)
        self._whole = self.space
        self._computed: list[list[dict[str, str]]] = [[] for _ in self.spans]
        self.bilevel: Bilevel

    @property
    def span(self) -> Span:
        """The epochs of the present phase."""
        return self.spans[self.number]

    @property
    def is_last(self) -> bool:
        """Whether no phase follows."""
        return self.number == len(self.spans) - 1

    @property
    def computed(self) -> dict[str, str]:
        """By which backend and memory mode; where phases or runs differ, one after the other."""
        known = [each for phase in self._computed for each in phase]
        return {key: " then ".join(dict.fromkeys(each[key] for each in known)) for key in known[-1]}

    def begin(self, saved: Mapping[str, Any] | None, *, is_over: bool = False) -> None:
        """Place the first supernet, or one as that of the phase in which ``saved`` was kept, whose weights are then to be loaded.

        Where the search ``is_over``, no epoch is left to be computed as it is placed now.
        """
        if saved is not None:
            self._computed = [[dict(each) for each in phase] for phase in saved["computed"]]
            if saved["number"]:
                self._make(saved["number"], saved["edge_primitives"])
        self._place(is_over=is_over)

    def advance(self, epoch: int) -> bool:
        """Enter the phase that begins with ``epoch`` (from 0), if one does: prune, make the supernet, carry over. Return whether."""
        if self.is_last or epoch < self.spans[self.number + 1].first:
            return False
        before, bilevel, phase = self.supernet, self.bilevel, self.method.phases[self.number + 1]
        kept: EdgePrimitives = {cell_type: offer.names for cell_type, offer in before.offers.items()}
        if phase.keeps is not None:
            kept = strongest_operations(before.mixture(), before.offers, phase.keeps)
        self._make(self.number + 1, kept)
        if not phase.starts_anew:
            carry_over(before, self.supernet)
        self._place()
        if not phase.starts_anew:
            self.bilevel.carry_from(bilevel)
        counts = sorted({len(own) for offer in self.supernet.offers.values() for own in offer.ops})
        LOG.info(
            "search: phase %d of %d: %d cells, %s operations on an edge%s, weights %s.",
            self.number + 1,
            len(self.spans),
            self._images(self.space).layers,
            " or ".join(map(str, counts)),
            "" if (proportion := self.method.proportion(self.number)) == 1 else f", one channel in {proportion} goes through them",
            "drawn anew" if phase.starts_anew else "carried over",
        )
        return True

    def lr(self, epoch: int) -> float:
        """Return the learning rate of the weights in ``epoch`` (from 0)."""
        first, end = self.span.lr_first, self.span.lr_end
        return cosine(epoch - first, epochs=end - first, lr=self.cfg.lr, lr_min=self.cfg.lr_min)

    def is_still(self, epoch: int) -> bool:
        """Return whether alpha stands still in ``epoch`` (from 0)."""
        return self.method.is_still(epoch - self.span.first)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`begin` needs; the supernet's and the optimisers' states are their own."""
        names = {cell_type: [list(own) for own in offer.names] for cell_type, offer in self.supernet.offers.items()}
        return {"number": self.number, "edge_primitives": names, "computed": self._computed}

    def _make(self, number: int, edge_primitives: EdgePrimitives) -> None:
        seed = int(torch.randint(2**62, (), generator=self.generator))
        self.number, before = number, self.supernet
        assert isinstance(before, ImageSupernet)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.supernet = self.method.supernet(
                self._whole,
                in_channels=before.in_channels,
                num_classes=before.classifier.out_features,
                generator=torch.Generator().manual_seed(seed),
                phase=number,
                edge_primitives=edge_primitives,
            )
        self.space = self.method.phases[number].space(self._images(self._whole), edge_primitives)

    @staticmethod
    def _images(space: Space) -> CellSpace:
        assert isinstance(space, CellSpace)  # check_space lets no other have more than one phase
        return space

    def _place(self, *, is_over: bool = False) -> None:
        cfg = self.cfg.model_copy(update={"epochs": self.span.epochs})
        placed = place(self.supernet, self.method, cfg, self.device, self.batch_shape, batches=self.batches)
        own = self._computed[self.number]
        if own and own[-1]["backend"] != placed["backend"]:
            LOG.info("search: %s what backend %s computed.", "is over; the result is" if is_over else "goes on with", own[-1]["backend"])
        if not (is_over and own):
            own.append(placed)
        self.bilevel = Bilevel(self.supernet, self.method, self.cfg, generator=self.generator)
