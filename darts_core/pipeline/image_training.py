"""What retraining does for images: cells and baselines that classify them."""

from __future__ import annotations

import logging
from functools import cached_property

import torch
from torch import nn

from darts_core.components import image_space
from darts_core.config import Config
from darts_core.data import Batches, open_prepared, resolve_policy
from darts_core.engine.lineup import Entrant, Sizes
from darts_core.engine.loop import Log
from darts_core.engine.retrain import AMP_DTYPES, retrain
from darts_core.engine.training import Trained
from darts_core.metrics import count_macs
from darts_core.nets.backend import Used, compiled_alone, use_backend
from darts_core.ops.drop_path import DropPath
from darts_core.pipeline.places import PREPARED
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session

LOG = logging.getLogger(__name__)


class ImageTraining:
    """Training on images: all networks see the same ones in the same order, augmented alike."""

    sections = ("seed", "data", "augment", "space", "retrain")

    def __init__(self, cfg: Config, session: Session) -> None:
        self.cfg = cfg
        self.session = session
        self.prepared = open_prepared(PREPARED)
        self.space = image_space(cfg)
        self.backends: dict[str, str] = {}
        """How each network was computed."""

    @property
    def content_hash(self) -> str:
        """The hash of the images."""
        return self.prepared.spec.content_hash

    def remark(self) -> None:
        """Say, once for all networks, what the images have no part for."""
        if not self.prepared.has_valid:
            LOG.info("retrain: no validation images (data.valid_fraction is 0), so the best epoch is the last one.")

    @cached_property
    def sizes(self) -> Sizes:
        """What the networks are built for."""
        spec = self.prepared.spec
        return Sizes.of(self.cfg.retrain, shape=(spec.channels, spec.height, spec.width), num_classes=spec.num_classes)

    def costs(self, entrant: Entrant) -> int:
        """Return the multiply-adds of an image, by which the longest training is known.

        Parameters are a worse guide: half of a MobileNetV2's are in its last, smallest maps, and a cell network has few.
        """
        sizes = self.sizes
        return count_macs(entrant.build(self.space, sizes), input_shape=(sizes.channels, sizes.height, sizes.width))

    def train(self, entrant: Entrant, *, progress: str, log: Log, checkpoint: Checkpoint) -> Trained:
        """Train one network."""
        cfg, session = self.cfg, self.session
        drop_path = DropPath(stream(cfg.seed, "retrain drop path"))
        with seeded(cfg.seed, f"retrain weights {entrant.name}"):
            network = entrant.build(self.space, self.sizes, drop_path=drop_path)
        train, valid = self._batches()
        used = self._backend(entrant.name, network, checkpoint)
        with compiled_alone(used):
            return retrain(
                network,
                name=entrant.name,
                train=train,
                valid=valid,
                cfg=cfg.retrain,
                drop_path=drop_path,
                device=session.device,
                memory_format=session.memory_format,
                progress=progress,
                log=log,
                checkpoint=checkpoint,
            )

    def _backend(self, name: str, network: nn.Module, checkpoint: Checkpoint) -> Used:
        """Prepare how the network is computed, unless it is trained already; note in the checkpoint what its epochs were computed by."""
        cfg, session, sizes = self.cfg, self.session, self.sizes
        noted = (checkpoint.load(f"{name}_backend") or {"names": []})["names"]
        state = checkpoint.load(name)
        if noted and state is not None and state["epoch"] >= cfg.retrain.epochs:
            self.backends[name] = ", then ".join(noted)
            if cfg.retrain.backend not in noted:
                LOG.info("retrain: %s: is trained already, by backend %s.", name, noted[-1])
            return Used(name="eager", why="nothing is left to compute")
        used = use_backend(
            network,
            cfg.retrain.backend,
            torch.zeros(min(cfg.retrain.batch_size, len(self.prepared.train())), sizes.channels, sizes.height, sizes.width),
            device=session.device,
            memory_format=session.memory_format,
            amp=AMP_DTYPES.get(cfg.retrain.amp),
        )
        if noted and state is not None and noted[-1] != used.name:
            LOG.info("retrain: %s: goes on from epoch %d, which backend %s computed.", name, state["epoch"], noted[-1])
        LOG.log(logging.WARNING if used.fell_back else logging.INFO, "retrain: %s: backend %s.", name, used.why)
        if noted[-1:] != [used.name]:
            noted = [*(noted if state is not None else []), used.name]
            checkpoint.save(f"{name}_backend", {"names": noted})
        self.backends[name] = ", then ".join(noted)
        return used

    def _batches(self) -> tuple[Batches, Batches | None]:
        cfg, prepared, session = self.cfg, self.prepared, self.session
        policy = resolve_policy(prepared.spec, cfg.augment, cutout=cfg.retrain.cutout)
        place = {"device": session.device, "num_workers": session.num_workers}
        generator = stream(cfg.seed, "retrain batches")
        train = Batches(prepared.train(), cfg.retrain.batch_size, shuffle=True, policy=policy, generator=generator, **place)  # type: ignore[arg-type]
        if not prepared.has_valid:
            return train, None
        return train, Batches(prepared.valid(), cfg.retrain.batch_size, shuffle=False, **place)  # type: ignore[arg-type]

    def metrics(self, own: Trained) -> dict[str, float]:
        """Return what metrics.json says of the searched network."""
        valid = {"retrain_valid_acc": own.value("valid_acc", "best"), "retrain_valid_acc_last": own.value("valid_acc", "last")}
        last = own.history[-1]
        return {
            **{key: value for key, value in valid.items() if value is not None},
            "retrain_best_epoch": own.best_epoch,
            "retrain_train_acc": last["train_acc"],
            "retrain_train_loss": last["train_loss"],
        }
