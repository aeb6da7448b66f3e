"""What retraining does for text: recurrent cells and baselines that predict the next token."""

from __future__ import annotations

from functools import cached_property

from darts_core.components import text_space
from darts_core.config import TextConfig
from darts_core.data import columns, open_text
from darts_core.data.windows import Windows
from darts_core.engine.language import retrain_language
from darts_core.engine.language_lineup import LanguageSizes, dropout_of
from darts_core.engine.lineup import Entrant
from darts_core.engine.loop import Log
from darts_core.engine.training import Trained
from darts_core.genotype import Genotype
from darts_core.metrics import count_parameters
from darts_core.pipeline.places import GENOTYPE, PREPARED
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session


class LanguageTraining:
    """Training on a text: all networks read the same windows of it, in order."""

    sections = ("seed", "data", "space", "retrain")

    def __init__(self, cfg: TextConfig, session: Session) -> None:
        self.cfg = cfg
        self.session = session
        self.prepared = open_text(PREPARED)
        self.space = text_space(cfg)

    @property
    def content_hash(self) -> str:
        """The hash of the text."""
        return self.prepared.spec.content_hash

    @cached_property
    def sizes(self) -> LanguageSizes:
        """What the networks are built for."""
        genotype = Genotype.load(GENOTYPE)
        return LanguageSizes.of(self.cfg.retrain, space=self.space, genotype=genotype, num_tokens=self.prepared.spec.vocab_size)

    def costs(self, entrant: Entrant) -> int:
        """Return the number of parameters; nearly all are used once a token."""
        return count_parameters(self.sizes.build(entrant, self.space))

    def train(self, entrant: Entrant, *, progress: str, log: Log, checkpoint: Checkpoint) -> Trained:
        """Train one network."""
        cfg, again = self.cfg, self.cfg.retrain
        with seeded(cfg.seed, f"retrain weights {entrant.name}"):
            masks = stream(cfg.seed, "retrain dropout")
            network = self.sizes.build(entrant, self.space, dropout=dropout_of(again), generator=masks)
        train, valid = (columns(part, again.batch_size, again.bptt) for part in (self.prepared.train(), self.prepared.valid()))
        place = self.session.device
        return retrain_language(
            network,
            name=entrant.name,
            train=Windows(train.to(place), again.bptt, generator=stream(cfg.seed, "retrain windows")),
            valid=Windows(valid.to(place), again.bptt),
            cfg=again,
            device=place,
            progress=progress,
            log=log,
            checkpoint=checkpoint,
        )

    def metrics(self, own: Trained) -> dict[str, float]:
        """Return what metrics.json says of the searched network."""
        best, last = own.value("valid_ppl", "best"), own.history[-1]
        assert best is not None
        trained = next((row for row in reversed(own.history) if not row["rolled_back"]), None)  # the others have no training loss
        found = {} if trained is None else {"retrain_train_ppl": trained["train_ppl"], "retrain_train_loss": trained["train_loss"]}
        return {
            "retrain_valid_ppl": best,
            "retrain_valid_ppl_last": last["valid_ppl"],
            "retrain_best_epoch": own.best_epoch,
            "retrain_averaged_epochs": sum(row["is_averaged"] for row in own.history),
            "retrain_roll_backs": sum(row["rolled_back"] for row in own.history),
            **found,
        }
