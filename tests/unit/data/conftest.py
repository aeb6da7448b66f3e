"""Small folders of real image files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darts_core.config import DataConfig
from darts_core.data import prepare

MakeFolder = Callable[..., Path]
FolderConfig = Callable[..., DataConfig]
Refused = Callable[[DataConfig, str], None]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write ``count`` PNG files of random pixels into each of ``folders`` below a new root."""

    def make(*folders: str, count: int = 6, size: tuple[int, int] = (8, 8), mode: str = "RGB", root: str = "photos", seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        base = tmp_path / root
        for folder in folders:
            (base / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(base / folder / f"{i:03d}.png")
        return base

    return make


@pytest.fixture
def folder_config() -> FolderConfig:
    """Return the ``data`` section for a folder of images."""

    def config(root: Path | str, **options: object) -> DataConfig:
        return DataConfig.model_validate({"name": "image_folder", "root": str(root), **options})

    return config


@pytest.fixture
def refused(make_folder: MakeFolder, folder_config: FolderConfig, tmp_path: Path) -> Refused:
    """Check that preparing fails and says so, that the output of an earlier run stays whole, and that nothing else is left."""
    out = tmp_path / "out"
    prepare(folder_config(make_folder("x", "y", root="earlier")), out)

    def files() -> dict[Path, bytes]:
        return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def check(cfg: DataConfig, message: str) -> None:
        before = files()
        with pytest.raises(ValueError, match=message):
            prepare(cfg, out)
        assert files() == before

    return check
