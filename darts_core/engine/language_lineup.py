"""What a language model is built for, and how it is built: the searched cell's, a random one's, a baseline's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from darts_core.config import LanguageConfig
from darts_core.genotype import Genotype
from darts_core.metrics import count_parameters
from darts_core.nets.dropout import Dropout
from darts_core.nets.language_baselines import LANGUAGE_BASELINES, width_of_equal_size
from darts_core.nets.language_model import LanguageModel
from darts_core.spaces.darts_rnn import RecurrentSpace

if TYPE_CHECKING:
    from darts_core.engine.lineup import Entrant


@dataclass(frozen=True, kw_only=True)
class LanguageSizes:
    """Tokens of the vocabulary, units of a searched cell, and how many parameters it has in all, which decides a baseline's width."""

    kind: ClassVar[str] = "text"
    num_tokens: int
    hidden: int
    num_parameters: int

    @classmethod
    def of(cls, cfg: LanguageConfig, *, space: RecurrentSpace, genotype: Genotype, num_tokens: int) -> LanguageSizes:
        """Take the size of the cells from ``retrain.hidden``, and count what the searched network has."""
        with torch.device("meta"):
            network = space.network(
                genotype, num_tokens=num_tokens, width=cfg.hidden, dropout=Dropout(), generator=torch.Generator(device="cpu")
            )
        return cls(num_tokens=num_tokens, hidden=cfg.hidden, num_parameters=count_parameters(network))

    def build(
        self, entrant: Entrant, space: RecurrentSpace, *, dropout: Dropout | None = None, generator: torch.Generator | None = None
    ) -> LanguageModel:
        """Return the network with fresh weights from torch's default generator; ``generator`` seeds its dropout."""
        settings = {"num_tokens": self.num_tokens, "dropout": dropout or Dropout(), "generator": generator or torch.Generator()}
        if entrant.genotype is not None:
            return space.network(entrant.genotype, width=self.hidden, **settings)  # type: ignore[arg-type]
        assert entrant.baseline is not None
        width = width_of_equal_size(entrant.baseline, num_parameters=self.num_parameters, num_tokens=self.num_tokens)
        core = LANGUAGE_BASELINES.get(entrant.baseline)(width=width)
        return LanguageModel(core, **settings)  # type: ignore[arg-type]


def dropout_of(cfg: LanguageConfig) -> Dropout:
    """Return the dropout of ``retrain.dropout_*``."""
    return Dropout(
        embedding=cfg.dropout_embedding,
        inputs=cfg.dropout_inputs,
        gates=cfg.dropout_gates,
        hidden=cfg.dropout_hidden,
        outputs=cfg.dropout_outputs,
    )
