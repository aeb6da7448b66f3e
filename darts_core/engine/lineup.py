"""The networks that are trained alike and compared: the searched one, the baselines, random cells of the same space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from darts_core.config import LanguageConfig, RetrainConfig
from darts_core.engine.language_lineup import LanguageSizes
from darts_core.engine.training import Trained
from darts_core.genotype import Genotype
from darts_core.nets.baselines import BASELINES
from darts_core.nets.skeleton import CellName, Stem
from darts_core.ops.drop_path import DropPath
from darts_core.runtime.checkpoint import save_atomically
from darts_core.runtime.seed import stream
from darts_core.spaces.space import CellSpace, Space

SCHEMA_VERSION = 2  # 2: the kind of the network, for images or for text
SEARCHED = "searched"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a network is built for: images (channels, height, width), classes, and the size of a cell network."""

    kind: ClassVar[str] = "images"
    channels: int
    height: int
    width: int
    num_classes: int
    init_channels: int
    layers: int
    stem: Stem
    auxiliary: bool
    cells: tuple[CellName, ...] | None = None

    @classmethod
    def of(cls, cfg: RetrainConfig, *, shape: tuple[int, int, int], num_classes: int) -> Sizes:
        """Take the size of the cell networks from ``retrain.*``."""
        return cls(
            channels=shape[0],
            height=shape[1],
            width=shape[2],
            num_classes=num_classes,
            init_channels=cfg.init_channels,
            layers=cfg.layers,
            stem=cfg.stem,
            auxiliary=cfg.auxiliary,
            cells=cfg.cells,
        )

    def build(self, entrant: Entrant, space: CellSpace) -> nn.Module:
        """Return the network of ``entrant``."""
        return entrant.build(space, self)


KINDS: dict[str, type[Sizes] | type[LanguageSizes]] = {kind.kind: kind for kind in (Sizes, LanguageSizes)}


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One network of the comparison: cells of ``genotype``, or the ``baseline`` of that name."""

    name: str
    genotype: Genotype | None = None
    baseline: str | None = None

    def build(self, space: CellSpace, sizes: Sizes, *, drop_path: DropPath | None = None) -> nn.Module:
        """Return the network with fresh weights from torch's default generator."""
        if self.genotype is None:
            assert self.baseline is not None
            factory = BASELINES.get(self.baseline)
            return factory(in_channels=sizes.channels, num_classes=sizes.num_classes, image_size=min(sizes.height, sizes.width))
        return space.network(
            self.genotype,
            in_channels=sizes.channels,
            num_classes=sizes.num_classes,
            init_channels=sizes.init_channels,
            layers=sizes.layers,
            stem=sizes.stem,
            auxiliary=sizes.auxiliary,
            drop_path=drop_path,
            cells=sizes.cells,
        )


def lineup(genotype: Genotype, *, space: Space, cfg: RetrainConfig | LanguageConfig, seed: int) -> list[Entrant]:
    """Return the searched network, the baselines of ``retrain.baselines`` and ``retrain.random_genotypes`` random ones, in this order."""
    random = [space.random_genotype(stream(seed, f"random genotype {k}")) for k in range(cfg.random_genotypes)]
    return [
        Entrant(name=SEARCHED, genotype=genotype),
        *(Entrant(name=name, baseline=name) for name in cfg.baselines),
        *(Entrant(name=f"random_{k}", genotype=drawn) for k, drawn in enumerate(random)),
    ]


def save_network(folder: Path, entrant: Entrant, sizes: Sizes | LanguageSizes, trained: Trained) -> None:
    """Write ``network.json``, ``best.pt`` and ``last.pt`` to ``folder``: all that is needed to build the network again."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "schema_version": SCHEMA_VERSION,
        "name": entrant.name,
        "genotype": None if entrant.genotype is None else entrant.genotype.to_dict(),
        "baseline": entrant.baseline,
        "kind": sizes.kind,
        "sizes": asdict(sizes),
        "best_epoch": trained.best_epoch,
        "last_epoch": len(trained.history),
        "rolled_back": list(trained.rolled_back),
    }
    (folder / "network.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    for which, state in (("best", trained.best), ("last", trained.last)):
        save_atomically(folder / f"{which}.pt", lambda file, state=state: torch.save(state, file))  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A trained network on disk; ``rolled_back`` are the epochs of its training from which it went back."""

    entrant: Entrant
    sizes: Sizes | LanguageSizes
    folder: Path
    rolled_back: tuple[int, ...] = ()

    def build(self, space: Any, which: Literal["best", "last"] = "best") -> Any:
        """Return the network with the weights of its ``best`` or ``last`` epoch, in evaluation mode, on the CPU; ``space`` is its own."""
        network = self.sizes.build(self.entrant, space)
        network.load_state_dict(torch.load(self.folder / f"{which}.pt", map_location="cpu", weights_only=True))
        return network.eval()


def saved_networks(root: Path) -> Mapping[str, Saved]:
    """Return the networks below ``root`` by name, the searched one first. Raise ``ValueError`` where it is missing."""
    found = {folder.name: _read(folder) for folder in sorted(root.iterdir()) if (folder / "network.json").exists()} if root.is_dir() else {}
    if SEARCHED not in found:
        raise ValueError(f"{root}: no network called '{SEARCHED}' here. Run: dvc repro retrain.")
    return {SEARCHED: found.pop(SEARCHED), **found}


def _read(folder: Path) -> Saved:
    path = folder / "network.json"
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if described.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version {SCHEMA_VERSION} expected. Got {described.get('schema_version')!r}. Run: dvc repro -f retrain."
        )
    genotype = described["genotype"]
    entrant = Entrant(
        name=described["name"],
        genotype=None if genotype is None else Genotype.from_dict(genotype, source=str(path)),
        baseline=described["baseline"],
    )
    sizes = described["sizes"]
    if sizes.get("cells") is not None:
        sizes = {**sizes, "cells": tuple(sizes["cells"])}
    rolled_back = tuple(described.get("rolled_back", ()))
    return Saved(entrant=entrant, sizes=KINDS[described["kind"]](**sizes), folder=folder, rolled_back=rolled_back)
