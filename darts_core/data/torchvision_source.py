"""The data sets that torchvision fetches: downloaded once, checked against their published checksums, read as arrays."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darts_core.data.dataset import Collected, collect_arrays
from darts_core.data.spec import AugmentPolicy


def collect_torchvision(
    name: str,
    opener: Callable[[bool], Any],
    *,
    root: str,
    pixels_of: Callable[[Any], NDArray[np.uint8]],
    labels_of: Callable[[Any], Any],
    class_names: Callable[[Any], Sequence[str]],
    augment: AugmentPolicy,
) -> Collected:
    """Return the two halves of a torchvision data set as one.

    ``opener(is_train)`` opens a half and downloads it if needed; ``pixels_of`` returns its images as (N, C, H, W). Raise
    ``ValueError`` where the files can be neither found, fetched nor verified.
    """
    halves = []
    for part in ("train", "test"):
        try:
            # Older releases print; the stage's output is not theirs.
            with contextlib.redirect_stdout(io.StringIO()):
                half = opener(part == "train")
        except ModuleNotFoundError as error:
            raise ValueError(f"data.name {name} needs the package {error.name}. Run: pip install {error.name}.") from None
        except (OSError, RuntimeError, EOFError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{name} could be neither found in data.root ({Path(root).resolve()}) nor downloaded and verified: {reason}. Check the "
                f"network connection and remove damaged files there, or copy the files of {name} into that folder by hand."
            ) from None
        halves.append((part, half))
    pixels = [pixels_of(half) for _, half in halves]
    return collect_arrays(
        np.concatenate(pixels),
        np.concatenate([np.asarray(labels_of(half), dtype=np.int64) for _, half in halves]),
        class_names=list(class_names(halves[0][1])),
        parts=[part for (part, _), images in zip(halves, pixels) for _ in images],
        names=[f"{part}/{i:05d}" for (part, _), images in zip(halves, pixels) for i in range(len(images))],
        augment=augment,
    )
