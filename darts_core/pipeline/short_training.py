"""Short training of architectures of the supernet's size, each alone, on the search's own images or text: never on the test set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def train_image_network(
    genotype: Genotype,
    number: int,
    *,
    cfg: Config,
    splits: tuple[Images, Images],
    session: Session,
    epochs: int,
    name: Callable[[int], str],
    purpose: str,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train the network of ``genotype`` by the search's recipe and sizes on the first of ``splits``, and validate on the second.

    Its weights are drawn for its ``number`` and ``purpose``; of a purpose all see the same images in the same order. It goes on from what
    ``checkpoint`` holds as ``name`` of that number.
    """
    own, space, spec = cfg.search, image_space(cfg), splits[0].spec
    alike = {key: getattr(own, key) for key in ("batch_size", "lr", "lr_min", "momentum", "weight_decay", "grad_clip", "cutout")}
    recipe = RetrainConfig.model_validate({"epochs": epochs, "warmup_epochs": 0, "auxiliary": False, "drop_path_prob": 0.0, **alike})
    place: dict[str, Any] = {"device": session.device, "num_workers": session.num_workers}
    with seeded(cfg.seed, f"{purpose} weights {number}"):
        network = space.network(
            genotype,
            in_channels=spec.channels,
            num_classes=spec.num_classes,
            init_channels=space.init_channels,
            layers=space.layers,
            stem=space.stem,
        )
    policy = resolve_policy(spec, cfg.augment, cutout=own.cutout)
    generator = stream(cfg.seed, f"{purpose} training batches")
    return retrain(
        network,
        name=name(number),
        train=Batches(splits[0], own.batch_size, shuffle=True, policy=policy, generator=generator, **place),
        valid=Batches(splits[1], own.batch_size, shuffle=False, **place),
        cfg=recipe,
        drop_path=DropPath(torch.Generator()),
        device=session.device,
        memory_format=session.memory_format,
        checkpoint=checkpoint,
        section="search",
    )


def train_text_network(
    genotype: Genotype,
    number: int,
    *,
    cfg: Config,
    splits: tuple[Tensor, Tensor],
    num_tokens: int,
    session: Session,
    epochs: int,
    name: Callable[[int], str],
    purpose: str,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train the language model of ``genotype`` as :func:`train_image_network` does; its learning rate stays, nothing is averaged."""
    own, space, drop = cfg.search, text_space(cfg), text_space(cfg).dropout
    recipe = LanguageConfig(
        epochs=epochs,
        nonmono=0,
        batch_size=own.batch_size,
        lr=own.lr,
        weight_decay=own.weight_decay,
        grad_clip=own.grad_clip,
        bptt=space.bptt,
        hidden=space.hidden,
        activation_penalty=space.activation_penalty,
        slowness_penalty=space.slowness_penalty,
    )
    with seeded(cfg.seed, f"{purpose} weights {number}"):
        masks = stream(cfg.seed, f"{purpose} dropout")
        network = space.network(genotype, num_tokens=num_tokens, width=space.hidden, dropout=drop, generator=masks)
    train, valid = (columns(part, own.batch_size, space.bptt, keys=TEXT_KEYS).to(session.device) for part in splits)
    return retrain_language(
        network,
        name=name(number),
        train=Windows(train, space.bptt, generator=stream(cfg.seed, f"{purpose} training windows")),
        valid=Windows(valid, space.bptt),
        cfg=recipe,
        device=session.device,
        checkpoint=checkpoint,
        section="search",
    )


def trainer(
    cfg: Config,
    prepared: Prepared | PreparedText,
    session: Session,
    *,
    epochs: int,
    name: Callable[[int], str],
    purpose: str,
    checkpoint: Checkpoint | None,
) -> Callable[[Genotype, int], Trained]:
    """Return what trains an architecture, given its number, on the training images or text of the search."""
    portion, fraction = cfg.search.train_portion, cfg.search.data_fraction
    alike: dict[str, Any] = {
        "cfg": cfg,
        "session": session,
        "epochs": epochs,
        "name": name,
        "purpose": purpose,
        "checkpoint": checkpoint,
    }
    if isinstance(prepared, PreparedText):
        tokens = prepared.search_splits(portion, fraction=fraction)
        return partial(train_text_network, splits=tokens, num_tokens=prepared.spec.vocab_size, **alike)
    return partial(train_image_network, splits=prepared.search_splits(portion, seed=cfg.seed, fraction=fraction), **alike)
