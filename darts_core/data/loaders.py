"""Batches of one epoch, and batches without end; both resume bit for bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from darts_core.data.augment import crop_and_flip, cutout, draw, normalise, to_device, turn_and_zoom
from darts_core.data.images import Images, Pending
from darts_core.data.spec import AugmentPolicy

_BATCHES_AHEAD_PER_WORKER = 2


class Batches:
    """Iterate once an epoch over normalised batches: x float32 (B, C, H, W) and y int64 (B,), on ``device``.

    The order and every augmentation are drawn here, from ``generator`` (CPU), so ``num_workers`` changes no value. ``policy``
    None augments nothing. Each new iterator is a new epoch, with a new permutation if ``shuffle``.
    A last shuffled batch of one image joins the one before it: BatchNorm cannot train on a single value a channel.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool,
        policy: AugmentPolicy | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        policy = policy or AugmentPolicy()
        if generator is None and (shuffle or policy != AugmentPolicy()):
            raise ValueError("Shuffled or augmented batches need a generator to draw from. Got None.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1. Got {batch_size}.")
        if len(images) < (batch_size if drop_last else 1):
            raise ValueError(f"{len(images)} images do not fill one batch of {batch_size}. Lower batch_size in params.yaml.")
        self.images = images
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.generator = generator
        self._shuffle = shuffle
        self._policy = policy
        self._num_workers = num_workers
        self._drop_last = drop_last
        self._mean = torch.tensor(images.spec.mean, dtype=torch.float32, device=self.device)[:, None, None]
        self._std = torch.tensor(images.spec.std, dtype=torch.float32, device=self.device)[:, None, None]

    def __len__(self) -> int:
        full, rest = divmod(len(self.images), self.batch_size)
        joins = full and rest == 1 and self._shuffle
        return full + bool(rest and not self._drop_last and not joins)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(self.order())

    def order(self) -> Tensor:
        """Draw the order of an epoch: positions (N,)."""
        n = len(self.images)
        return torch.randperm(n, generator=self.generator) if self._shuffle else torch.arange(n)

    def epoch(self, order: Tensor, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch in ``order``, from batch number ``start`` on."""
        waiting: deque[tuple[Tensor, Pending]] = deque()
        ahead = max(1, _BATCHES_AHEAD_PER_WORKER * self._num_workers)
        last = -1 if self._drop_last else len(self) - 1
        for number in range(start, len(self)):
            end = len(order) if number == last else (number + 1) * self.batch_size
            index = order[number * self.batch_size : end]
            waiting.append((index, self.images.request(index, num_workers=self._num_workers)))
            if len(waiting) >= ahead:
                yield self._finish(*waiting.popleft())
        while waiting:
            yield self._finish(*waiting.popleft())

    def _finish(self, index: Tensor, pending: Pending) -> tuple[Tensor, Tensor]:
        x = pending().to(self.device, non_blocking=True)
        y = self.images.labels[index].to(self.device, non_blocking=True)
        if self.generator is None:
            return normalise(x, self._mean, self._std), y
        draws = draw(self._policy, len(x), height=x.shape[2], width=x.shape[3], generator=self.generator)
        draws = to_device(draws, self.device)
        x = turn_and_zoom(crop_and_flip(x, draws, padding=self._policy.crop_padding), draws)
        return cutout(normalise(x, self._mean, self._std), draws, length=self._policy.cutout_length), y

    def state_dict(self) -> dict[str, Any]:
        """Return what the next epoch depends on: the generator's state (None without one)."""
        return {"generator": None if self.generator is None else self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; the next epoch is the one that would have come."""
        if self.generator is not None:
            self.generator.set_state(state["generator"])


class Cycle:
    """Batches without end: one permutation is used up before the next is drawn, however the caller pauses.

    The reference starts a new shuffled pass for each batch it takes, and so draws with replacement; every image comes once a
    pass here.
    """

    def __init__(self, batches: Batches) -> None:
        if batches.generator is None:
            raise ValueError("Endless batches need a generator, so that they can be resumed. Got Batches without one.")
        self.batches = batches
        self._generator = batches.generator
        self._position = len(batches)
        self._started = self._generator.get_state()
        self._epoch: Iterator[tuple[Tensor, Tensor]] = iter(())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self._position == len(self.batches):
            self._started = self._generator.get_state()
            self._epoch = self.batches.epoch(self.batches.order())
            self._position = 0
        self._position += 1
        return next(self._epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position within the permutation, and the generator as it was when that was drawn and as it is now."""
        return {
            "num_images": len(self.batches.images),
            "batch_size": self.batches.batch_size,
            "position": self._position,
            "started": self._started,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict` bit for bit. Raise ``ValueError`` where it belongs to other images or another batch size."""
        found = {"num_images": len(self.batches.images), "batch_size": self.batches.batch_size}
        if any(state[key] != value for key, value in found.items()):
            saved = {key: state[key] for key in found}
            raise ValueError(f"The saved position is of {saved}; these batches have {found}. Change params.yaml back or start afresh.")
        self._started = state["started"]
        self._generator.set_state(self._started)
        self._position = int(state["position"])
        if self._position < len(self.batches):
            self._epoch = self.batches.epoch(self.batches.order(), start=self._position)
        self._generator.set_state(state["generator"])
