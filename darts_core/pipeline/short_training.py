"""Short training of architectures of the supernet's size, each alone, on the search's own images or text: never on the test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from darts_core.components import image_space, text_space
from darts_core.config import Config, LanguageConfig, RetrainConfig
from darts_core.data import Batches, Images, Prepared, PreparedText, columns, resolve_policy
from darts_core.data.windows import Windows
from darts_core.engine.language import retrain_language
from darts_core.engine.retrain import retrain
from darts_core.engine.training import Trained
from darts_core.genotype import Genotype
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session

TEXT_KEYS = ("search.batch_size", "space.bptt")


@dataclass(frozen=True)
class ShortTraining:
    """Trains an architecture, given its number, for ``epochs`` epochs by the search's recipe and sizes.

    Its weights are drawn for that number and ``purpose``; of a purpose all see the same images, or windows of the text, in the same order.
    It goes on from what ``checkpoint`` holds as ``name`` of the number. Raise ``DivergedError`` where a loss is no number.
    """

    cfg: Config
    prepared: Prepared | PreparedText
    session: Session
    _: KW_ONLY
    epochs: int
    name: Callable[[int], str]
    purpose: str
    checkpoint: Checkpoint | None

    def __call__(self, genotype: Genotype, number: int) -> Trained:
        """Train it on what the search's weights learn from, and validate it on what its alphas would."""
        shared: dict[str, Any] = {
            "name": self.name(number),
            "device": self.session.device,
            "checkpoint": self.checkpoint,
            "section": "search",
        }
        train = self._on_text if isinstance(self.prepared, PreparedText) else self._on_images
        return train(genotype, number, shared)

    @cached_property
    def _splits(self) -> Any:
        own = self.cfg.search
        seed = {} if isinstance(self.prepared, PreparedText) else {"seed": self.cfg.seed}
        return self.prepared.search_splits(own.train_portion, fraction=own.data_fraction, **seed)

    def _on_images(self, genotype: Genotype, number: int, shared: dict[str, Any]) -> Trained:
        cfg, session, own, space = self.cfg, self.session, self.cfg.search, image_space(self.cfg)
        splits: tuple[Images, Images] = self._splits
        alike = {key: getattr(own, key) for key in ("batch_size", "lr", "lr_min", "momentum", "weight_decay", "grad_clip", "cutout")}
        recipe = {"epochs": self.epochs, "warmup_epochs": 0, "auxiliary": False, "drop_path_prob": 0.0, **alike}
        with seeded(cfg.seed, f"{self.purpose} weights {number}"):
            network = space.network(
                genotype,
                in_channels=splits[0].spec.channels,
                num_classes=splits[0].spec.num_classes,
                init_channels=space.init_channels,
                layers=space.layers,
                stem=space.stem,
            )
        policy = resolve_policy(splits[0].spec, cfg.augment, cutout=own.cutout)
        generator = stream(cfg.seed, f"{self.purpose} training batches")
        place: dict[str, Any] = {"device": session.device, "num_workers": session.num_workers}
        return retrain(
            network,
            train=Batches(splits[0], own.batch_size, shuffle=True, policy=policy, generator=generator, **place),
            valid=Batches(splits[1], own.batch_size, shuffle=False, **place),
            cfg=RetrainConfig.model_validate(recipe),
            drop_path=DropPath(torch.Generator()),
            memory_format=session.memory_format,
            **shared,
        )

    def _on_text(self, genotype: Genotype, number: int, shared: dict[str, Any]) -> Trained:
        """The learning rate stays, and nothing is averaged."""
        cfg, own, space = self.cfg, self.cfg.search, text_space(self.cfg)
        splits: tuple[Tensor, Tensor] = self._splits
        recipe = {"epochs": self.epochs, "nonmono": 0, "bptt": space.bptt, "hidden": space.hidden}
        recipe |= {key: getattr(own, key) for key in ("batch_size", "lr", "weight_decay", "grad_clip")}
        recipe |= {key: getattr(space, key) for key in ("activation_penalty", "slowness_penalty")}
        with seeded(cfg.seed, f"{self.purpose} weights {number}"):
            masks = stream(cfg.seed, f"{self.purpose} dropout")
            assert isinstance(self.prepared, PreparedText)
            tokens = self.prepared.spec.vocab_size
            network = space.network(genotype, num_tokens=tokens, width=space.hidden, dropout=space.dropout, generator=masks)
        train, valid = (columns(part, own.batch_size, space.bptt, keys=TEXT_KEYS).to(self.session.device) for part in splits)
        return retrain_language(
            network,
            train=Windows(train, space.bptt, generator=stream(cfg.seed, f"{self.purpose} training windows")),
            valid=Windows(valid, space.bptt),
            cfg=LanguageConfig.model_validate(recipe),
            **shared,
        )
