"""A prepared text, as the later stages see it; the test text is not touched before it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts_core.data.prepare_text import FOLDERS, VOCABULARY
from darts_core.data.text_spec import TextSpec
from darts_core.data.vocabulary import Vocabulary


class PreparedText:
    """The outcome of prepare_data at ``root``: ``spec``, and each part as token numbers, int64 (N,)."""

    def __init__(self, root: Path, spec: TextSpec) -> None:
        self.root = root
        self.spec = spec

    def train(self) -> Tensor:
        """Return the text to learn from."""
        return self._part("train")

    def valid(self) -> Tensor:
        """Return the text to choose by."""
        return self._part("valid")

    def test(self) -> Tensor:
        """Return the held-out text; it is read here and nowhere else."""
        return self._part("test")

    def vocabulary(self) -> Vocabulary:
        """Return the tokens that the numbers stand for."""
        return Vocabulary.load(self.root / "trainval" / VOCABULARY)

    def search_splits(self, train_portion: float, *, fraction: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the texts for the weights and for alpha: the first ``train_portion`` of the training text, and the rest of it.

        Below 1 ``fraction`` is the share of the training text, from its beginning, that is used at all. With
        ``data.reference_split`` they are the training and the validation text, as in the paper (quark0/darts, rnn/train_search.py), and
        ``train_portion`` counts for nothing.
        """
        train = self.train()
        train = train[: max(2, round(fraction * len(train)))]
        if self.spec.reference_split:
            return train, self.valid()
        cut = round(train_portion * len(train))
        return train[:cut], train[cut:]

    def _part(self, part: str) -> Tensor:
        folder = next(folder for folder, parts in FOLDERS.items() if part in parts)
        path = self.root / folder / f"{part}.npy"
        try:
            numbers = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}). Run: dvc repro -f prepare_data.") from None
        if numbers.shape != (self.spec.tokens[part],):
            raise ValueError(f"{path}: {self.spec.tokens[part]} tokens expected. Got {numbers.shape}. Run: dvc repro -f prepare_data.")
        return torch.from_numpy(numbers.astype(np.int64))


def open_text(root: str | Path) -> PreparedText:
    """Open the text that :func:`darts_core.data.prepare` wrote to ``root``. Raise ``ValueError`` where there is none, or half of one."""
    path = Path(root) / "spec.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{path} is missing: the data are not prepared. Run: dvc repro prepare_data.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}). Run: dvc repro -f prepare_data.") from None
    return PreparedText(Path(root), TextSpec.from_dict(content, source=str(path)))
