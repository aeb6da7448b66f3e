"""The one look at the test text: every language model's perplexity on it, as numbers, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darts_core.config import TextEvaluateConfig
from darts_core.data import TextSpec
from darts_core.data.windows import Window
from darts_core.engine.evaluation import PREDICTION_COLUMNS, SEARCHED, random_mean, save_scores, searched_first, write_rows
from darts_core.metrics import bootstrap_perplexity, bootstrap_perplexity_ratio, count_parameters, perplexity
from darts_core.nets.language_model import LanguageModel

Text = Iterable[tuple[Window, Tensor]]


@dataclass(frozen=True, kw_only=True)
class LanguageScores:
    """One row of the comparison.

    ``low`` to ``high`` is the 95 % interval of ``test_ppl`` by resampling windows, ``test_bpc`` in bits a character, ``nll`` in nats a
    token. ``ratio`` is this network's test perplexity by that of the searched one, with its paired interval; None for that itself.
    """

    name: str
    test_ppl: float
    low: float
    high: float
    test_bpc: float
    nll: float
    valid_ppl: float
    params_m: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class TokenScores:
    """A token: how often it came, its percentage of the searched network's nats, and each network's mean nats on it (order: ``scores``)."""

    token: str
    count: int
    percent: float
    nll: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """A network's nats on a text and the number of tokens they are of: summed by window and column (W,), and by token to be told (V,)."""

    nll_W: npt.NDArray[np.float64]  # noqa: N815
    count_W: npt.NDArray[np.int64]  # noqa: N815
    nll_V: npt.NDArray[np.float64]  # noqa: N815
    count_V: npt.NDArray[np.int64]  # noqa: N815

    @property
    def nll(self) -> float:
        """The mean nats a token."""
        return float(self.nll_W.sum() / self.count_W.sum())


@dataclass(frozen=True, kw_only=True)
class LanguageEvaluation:
    """The result of ``evaluate``. ``scores`` starts with the searched network.

    ``vs_random`` is by how many percent its test perplexity lies below the mean of the random cells' (None without any), and
    ``unknown_percent`` of the test text's tokens are ``<unk>``. ``per_token`` has the tokens of the test text, those first that cost
    the searched network most in all.
    """

    scores: tuple[LanguageScores, ...]
    vs_random: float | None
    unknown_percent: float
    per_token: tuple[TokenScores, ...]

    def metrics(self) -> dict[str, float]:
        """Return the flat content of ``metrics.json``: ``test_*`` for the searched network, ``<network>_*`` for the others."""
        own = self.scores[0]
        values: dict[str, float | None] = {
            "test_ppl": own.test_ppl,
            "test_ppl_low": own.low,
            "test_ppl_high": own.high,
            "test_bpc": own.test_bpc,
            "test_nll": own.nll,
            "unknown_test_percent": self.unknown_percent,
            "valid_ppl": own.valid_ppl,
            "vs_random": self.vs_random,
            "params_m": own.params_m,
        }
        for other in self.scores[1:]:
            values |= {
                f"{other.name}_test_ppl": other.test_ppl,
                f"{other.name}_valid_ppl": other.valid_ppl,
                f"{other.name}_ppl_ratio": other.ratio,
                f"{other.name}_params_m": other.params_m,
            }
        return {key: value for key, value in values.items() if value is not None}

    def save(self, folder: Path) -> None:
        """Write metrics.json, comparison.csv, per_token.csv, scores/test_perplexity.csv and for ``dvc plots`` an empty predictions.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(self.metrics(), indent=2) + "\n", encoding="utf-8")
        names = [f.name for f in fields(LanguageScores)]
        write_rows(folder / "comparison.csv", names, ([getattr(row, name) for name in names] for row in self.scores))
        columns = ["token", "count", "percent_of_nats", *(f"{row.name}_nll" for row in self.scores)]
        write_rows(folder / "per_token.csv", columns, ([one.token, one.count, one.percent, *one.nll] for one in self.per_token))
        write_rows(folder / "predictions.csv", PREDICTION_COLUMNS, ())
        save_scores(folder, "test_perplexity", {row.name: row.test_ppl for row in self.scores})


def evaluate_language(
    networks: Mapping[str, LanguageModel],
    test: Text,
    valid: Text,
    *,
    spec: TextSpec,
    tokens: Sequence[str],
    cfg: TextEvaluateConfig,
    seed: int,
) -> LanguageEvaluation:
    """Read the test and the validation text with every network, each on the device where it is, and compare them.

    Both yield windows in order, anew in every iteration. ``networks`` maps names to networks, one of them called ``searched``; those
    called ``random_*`` are the random cells. ``tokens`` are the vocabulary's, in order. Every bootstrap is drawn anew from ``seed``. Raise
    ``ValueError`` where there is no ``searched`` network, or where one gives something other than finite numbers; the message names it.
    """
    read = {name: read_text(networks[name], test, name=name) for name in searched_first(networks)}
    own = read[SEARCHED]
    scores = []
    for name, found in read.items():
        draw = {"num_samples": cfg.bootstrap_samples}
        interval = bootstrap_perplexity(found.nll_W, found.count_W, generator=np.random.default_rng(seed), **draw)
        paired = None
        if name != SEARCHED:
            generator = np.random.default_rng(seed)
            paired = bootstrap_perplexity_ratio(found.nll_W, own.nll_W, own.count_W, generator=generator, **draw)
        scores.append(
            LanguageScores(
                name=name,
                test_ppl=perplexity(found.nll),
                low=interval.low,
                high=interval.high,
                test_bpc=spec.bits_per_character(found.nll, "test"),
                nll=found.nll,
                valid_ppl=perplexity(read_text(networks[name], valid, name=name).nll),
                params_m=count_parameters(networks[name]) / 1e6,
                ratio=None if paired is None else float(np.exp((found.nll_W - own.nll_W).sum() / own.count_W.sum())),
                ratio_low=None if paired is None else paired.low,
                ratio_high=None if paired is None else paired.high,
            )
        )
    return LanguageEvaluation(
        scores=tuple(scores),
        vs_random=_vs_random(scores),
        unknown_percent=spec.unknown_percent("test"),
        per_token=_per_token(list(read.values()), tokens),
    )


@torch.inference_mode()
def read_text(network: LanguageModel, text: Text, *, name: str) -> Reading:
    """Return the nats of ``text`` in evaluation mode. Raise ``ValueError`` that names the network where one is not a finite number."""
    network.eval()
    sums, counts = [], []
    nll_V, count_V = (torch.zeros(network.num_tokens, dtype=torch.float64) for _ in range(2))
    for window, target_N in text:
        length, batch = window.tokens_TB.shape
        state_SBD = network.first_state(batch) if window.state_SBD is None else window.state_SBD
        out = network.core_output(window.tokens_TB, state_SBD)
        window.next_state = out.state_SBD
        nll_N, told_N = network.losses(out.dropped_TBD, target_N).cpu(), target_N.cpu()
        sums.append(nll_N.view(length, batch).sum(0).numpy())
        counts.append(np.full(batch, length, dtype=np.int64))
        nll_V.index_add_(0, told_N, nll_N)
        count_V.index_add_(0, told_N, torch.ones_like(nll_N))
    nll_W = np.concatenate(sums)
    if not np.isfinite(nll_W).all():
        raise ValueError(f"Network '{name}': its predictions must be finite numbers. Lower retrain.lr and retrain it.")
    return Reading(nll_W, np.concatenate(counts), nll_V.numpy(), count_V.numpy().astype(np.int64))


def _per_token(read: Sequence[Reading], tokens: Sequence[str]) -> tuple[TokenScores, ...]:
    """Return what came in the text, by falling share of the first network's nats."""
    own = read[0]
    order = [int(v) for v in np.argsort(-own.nll_V, kind="stable") if own.count_V[v]]
    total = own.nll_V.sum() or 1.0
    return tuple(
        TokenScores(
            token=tokens[v],
            count=int(own.count_V[v]),
            percent=100.0 * float(own.nll_V[v] / total),
            nll=tuple(float(one.nll_V[v] / one.count_V[v]) for one in read),
        )
        for v in order
    )


def _vs_random(scores: Sequence[LanguageScores]) -> float | None:
    mean = random_mean({row.name: row.test_ppl for row in scores})
    return None if mean is None else 100.0 * (mean - scores[0].test_ppl) / mean
